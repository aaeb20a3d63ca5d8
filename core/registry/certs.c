#include "core/registry/certs.h"

#include "core/base/str.h"
#include "core/os/fs.h"

#include <errno.h>
#include <unistd.h>

static int readable(const char *dir, const struct str_list *names, struct arena *a, struct err *err)
{
    for (size_t i = 0; i < names->n; i++) {
        const char *path = arena_printf(a, "%s/%s", dir, names->at[i]);
        if (access(path, R_OK) != 0)
            return err_errno(err, ERR_CONFIG, errno, "%s", path);
    }
    return 0;
}

/* Each certificate has the key of its name, and no key stands alone. */
static int check_pairs(const char *dir, const struct str_list *names, const char *suffix,
                       const struct str_list *others, const char *other, struct arena *a,
                       struct err *err)
{
    for (size_t i = 0; i < names->n; i++) {
        size_t stem = strlen(names->at[i]) - strlen(suffix);
        const char *wanted = arena_printf(a, "%.*s%s", (int)stem, names->at[i], other);
        if (!str_in(wanted, others))
            return err_set(err, ERR_CONFIG, 0, "%s/%s is of no use without %s beside it", dir,
                           names->at[i], wanted);
    }
    return 0;
}

static int take_folder(const char *dir, struct arena *a, struct http_via *via, struct err *err)
{
    struct str_list crt = {0}, cert = {0}, key = {0};
    if (fs_list(dir, ".crt", a, &crt, err) < 0 || fs_list(dir, ".cert", a, &cert, err) < 0 ||
        fs_list(dir, ".key", a, &key, err) < 0)
        return -1;
    if (check_pairs(dir, &cert, ".cert", &key, ".key", a, err) < 0 ||
        check_pairs(dir, &key, ".key", &cert, ".cert", a, err) < 0 ||
        readable(dir, &crt, a, err) < 0 || readable(dir, &cert, a, err) < 0 ||
        readable(dir, &key, a, err) < 0)
        return -1;
    if (crt.n)
        via->ca_dir = dir;
    if (cert.n) { /* of several, the first: one is shown */
        size_t stem = strlen(cert.at[0]) - strlen(".cert");
        via->client_cert = arena_printf(a, "%s/%s", dir, cert.at[0]);
        via->client_key = arena_printf(a, "%s/%.*s.key", dir, (int)stem, cert.at[0]);
    }
    return 0;
}

int certs_find(const struct str_list *dirs, const char *host, struct arena *a, struct http_via *via,
               struct err *err)
{
    if (via->ca_file || via->ca_dir || via->client_cert)
        return 0;
    for (size_t i = 0; i < dirs->n; i++) {
        const char *dir = arena_printf(a, "%s/%s", dirs->at[i], host);
        if (fs_exists(dir))
            return take_folder(dir, a, via, err);
    }
    return 0;
}
