#include "cgi/harden.h"

#include "core/base/base.h"
#include "core/base/log.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void harden_no_core_dumps(void)
{
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        log_warn("core dumps could not be turned off", NULL);
}

void harden_file_limits(void)
{
    (void)signal(SIGXFSZ, SIG_IGN);
}
