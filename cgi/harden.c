#include "cgi/harden.h"

#include "core/base/base.h"
#include "core/base/log.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void harden_no_core_dumps(void)
{
    /* For children, whom the second call does not reach: with the limit 0, unlike 1, the kernel
     * would still pipe a dump to a helper program. Where the limit is lower already it cannot be 1.
     */
    struct rlimit none = {1, 1};
    bool is_limited = setrlimit(RLIMIT_CORE, &none) == 0 || errno == EPERM;
    if (!is_limited || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        log_warn("core dumps could not be turned off", NULL);
}

void harden_file_limits(void)
{
    (void)signal(SIGXFSZ, SIG_IGN);
}
