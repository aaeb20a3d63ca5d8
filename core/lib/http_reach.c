#include "core/lib/http_internal.h"

#include "core/base/str.h"
#include "core/os/fs.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>

#define CA_CACHE_S 60L

/* --- before the queue, in the caller's thread ---------------------------------------------------
 */

static void cleanup_url(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void cleanup_curl(char **p)
{
    curl_free(*p);
}

/* curl's own complaints of a proxy that it does not understand would show its password. */
static bool proxy_is_sound(const char *proxy)
{
    static const char *const schemes[] = {"http", "https", "socks5h"};
    CURLU *u CLEANUP(cleanup_url) = curl_url();
    char *scheme CLEANUP(cleanup_curl) = NULL, *host CLEANUP(cleanup_curl) = NULL;
    if (!u)
        abort();
    if (curl_url_set(u, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK || str_empty(host))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (str_caseeq(scheme, schemes[i]))
            return true;
    return false;
}

const char *http_reach_ca_file(const struct http_client *c, const struct http_call *call)
{
    return call->via.ca_file ? call->via.ca_file : c->ca_file;
}

/* The system's authorities are a folder that curl reads besides, or else one file. */
static const char *base_file(const struct http_client *c, const struct http_call *call)
{
    const char *file = http_reach_ca_file(c, call);
    const curl_version_info_data *built = curl_version_info(CURLVERSION_NOW);
    return file || built->capath ? file : built->cainfo;
}

/* curl wants hashed names in a folder, so the files are put together. */
static int gather_authorities(const struct http_client *c, struct http_flight *f)
{
    const struct http_via *via = &f->call->via;
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct str_list names = {0};
    struct err *err = &f->call->err;
    const char *base = base_file(c, f->call);
    f->authorities = (struct strbuf)STRBUF_INIT(LIMIT_AUTHORITIES);
    if (base && fs_read_file(base, &f->authorities, err) < 0)
        return -1;
    if (fs_list(via->ca_dir, ".crt", &scratch, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.n; i++) {
        const char *path = arena_printf(&scratch, "%s/%s", via->ca_dir, names.at[i]);
        (void)strbuf_addch(&f->authorities, '\n');
        if (fs_read_file(path, &f->authorities, err) < 0)
            return -1;
    }
    f->trust_blob = names.n > 0;
    return 0;
}

int http_reach_check(const struct http_client *c, struct http_flight *f)
{
    const struct http_via *via = &f->call->via;
    struct err *err = &f->call->err;
    char shown[HTTP_SHOWN_URL];
    /* It is not shown: where it is malformed, nobody knows what of it is the password. */
    if (via->proxy && !proxy_is_sound(via->proxy))
        return err_set(err, ERR_CONFIG, 0,
                       "the proxy's address is malformed: write http://, https:// or socks5h://, "
                       "then host and port");
    if (via->proxy && via->public_only) {
        http_shown_url(f->call->req.url, shown);
        return err_set(err, ERR_CONFIG, 0,
                       "%s: the host was named by a server, and whether its address is public "
                       "can't be seen through a proxy",
                       shown);
    }
    if (via->ca_dir && gather_authorities(c, f) < 0) {
        (void)err_wrap(err, "reading the certificates of folder %s", via->ca_dir);
        err->kind = ERR_CONFIG;
        return -1;
    }
    return 0;
}

/* --- in the loop --------------------------------------------------------------------------------
 */

static bool refuse(struct http_flight *f, const struct sockaddr *address)
{
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    if (address->sa_family == AF_INET) {
        memcpy(&four, address, sizeof four);
        (void)inet_ntop(AF_INET, &four.sin_addr, f->peer, sizeof f->peer);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&six, (const void *)address, sizeof six);
        (void)inet_ntop(AF_INET6, &six.sin6_addr, f->peer, sizeof f->peer);
    }
    f->end = END_PRIVATE;
    return false;
}

/* curl 7.88 opens sockets that children would inherit. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_flight *f = user;
    (void)purpose;
    if (f->call->via.public_only && http_address_is_private(&address->addr)) {
        (void)refuse(f, &address->addr);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

bool http_reach_is_public(struct http_flight *f, const char *address)
{
    struct sockaddr_storage s = {.ss_family = AF_UNSPEC};
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &four.sin_addr) == 1)
        memcpy(&s, &four, sizeof four);
    else if (inet_pton(AF_INET6, address, &six.sin6_addr) == 1)
        memcpy(&s, &six, sizeof six);
    const struct sockaddr *generic = (const struct sockaddr *)&s;
    return !http_address_is_private(generic) || refuse(f, generic);
}

/* The proxy, if it speaks TLS, is held to the same authorities, but sees no certificate of ours. */
static void set_authorities(const struct http_client *c, struct http_flight *f)
{
    CURL *e = f->easy;
    const char *file = http_reach_ca_file(c, f->call);
    if (f->trust_blob) {
        struct curl_blob blob = {
            .data = f->authorities.buf, .len = f->authorities.len, .flags = CURL_BLOB_NOCOPY};
        curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob);
        curl_easy_setopt(e, CURLOPT_PROXY_CAINFO_BLOB, &blob);
    } else if (file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, file);
        curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, file);
    }
    if (file) {
        /* An authority that the operator names stands in the place of the system's. */
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(e, CURLOPT_PROXY_CAPATH, NULL);
    }
}

/* curl takes a warm connection only where versions, authorities (a blob by its bytes) and the
 * client's certificate are the same, and the proxy with its user; not the key, but only one key
 * fits a certificate. */
static void set_trust(const struct http_client *c, struct http_flight *f)
{
    const struct http_via *via = &f->call->via;
    CURL *e = f->easy;
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
    set_authorities(c, f);
    if (!via->client_cert)
        return;
    curl_easy_setopt(e, CURLOPT_SSLCERT, via->client_cert);
    curl_easy_setopt(e, CURLOPT_SSLKEY, via->client_key ? via->client_key : via->client_cert);
    curl_easy_setopt(e, CURLOPT_KEYPASSWD, ""); /* else OpenSSL asks on the terminal */
}

static void set_proxy(struct http_flight *f)
{
    CURL *e = f->easy;
    const char *proxy = f->call->via.proxy;
    /* Neither the environment's proxies count nor its exceptions. */
    curl_easy_setopt(e, CURLOPT_PROXY, proxy ? proxy : "");
    if (!proxy)
        return;
    curl_easy_setopt(e, CURLOPT_NOPROXY, "");
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

void http_reach_set(const struct http_client *c, struct http_flight *f)
{
    curl_easy_setopt(f->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(f->easy, CURLOPT_OPENSOCKETDATA, f);
    set_proxy(f);
    set_trust(c, f);
}

/* --- afterwards, in the caller's thread ---------------------------------------------------------
 */

bool http_reach_leaks(const struct http_call *call, const char *text)
{
    const char *proxy = call->via.proxy;
    const char *host = proxy ? strstr(proxy, "://") : NULL;
    const char *at = host ? memrchr(host, '@', strcspn(host + 3, "/?#") + 3) : NULL;
    if (!at)
        return false;
    char *user CLEANUP(cleanup_free) = xstrndup(host + 3, (size_t)(at - host - 3));
    const char *colon = strchr(user, ':');
    return strstr(text, colon ? colon + 1 : user) != NULL;
}
