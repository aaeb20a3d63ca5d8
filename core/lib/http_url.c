#include "core/lib/http.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/http_internal.h"

#include <arpa/inet.h>
#include <curl/curl.h>

static void cleanup_url(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void cleanup_curl(char **p)
{
    curl_free(*p);
}

static CURLU *url_parse(const char *url)
{
    CURLU *u = curl_url();
    if (!u)
        abort();
    if (!url || curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK) {
        curl_url_cleanup(u);
        return NULL;
    }
    return u;
}

static const char *url_part(CURLU *u, CURLUPart part, unsigned flags, struct arena *a)
{
    char *text CLEANUP(cleanup_curl) = NULL;
    if (curl_url_get(u, part, &text, flags) != CURLUE_OK)
        return NULL;
    char *out = arena_strdup(a, text);
    for (char *p = out; (part == CURLUPART_SCHEME || part == CURLUPART_HOST) && *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return out;
}

const char *http_origin(struct arena *a, const char *url)
{
    CURLU *u CLEANUP(cleanup_url) = url_parse(url);
    if (!u)
        return NULL;
    const char *scheme = url_part(u, CURLUPART_SCHEME, 0, a);
    const char *host = url_part(u, CURLUPART_HOST, 0, a);
    const char *port = url_part(u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT, a);
    if (str_empty(host) || !(str_eq(scheme, "http") || str_eq(scheme, "https")))
        return NULL;
    return arena_printf(a, "%s://%s%s%s", scheme, host, port ? ":" : "", port ? port : "");
}

const char *http_join(struct arena *a, const char *base, const char *location)
{
    CURLU *u CLEANUP(cleanup_url) = url_parse(base);
    if (!u || str_empty(location) ||
        curl_url_set(u, CURLUPART_URL, location, CURLU_DISALLOW_USER) != CURLUE_OK)
        return NULL;
    return url_part(u, CURLUPART_URL, 0, a);
}

void http_shown_url(const char *url, char out[HTTP_SHOWN_URL])
{
    const char *host = url ? strstr(url, "://") : NULL;
    size_t start = host ? (size_t)(host - url) + 3 : 0;
    const char *rest = url ? url + start : "";
    size_t authority = strcspn(rest, "/?#");
    const char *at = memrchr(rest, '@', authority);
    if (at)
        rest = at + 1;
    int len = (int)strcspn(rest, "?#");
    (void)snprintf(out, HTTP_SHOWN_URL, "%.*s%.*s", (int)start, url ? url : "",
                   len > 260 ? 260 : len, rest);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
}

/* Networks of IPv4 that no public service has (RFC 6890). */
static bool ipv4_is_private(uint32_t address)
{
    static const struct {
        uint32_t net;
        int bits;
    } nets[] = {
        {0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},  {0xA9FE0000, 16},
        {0xAC100000, 12}, {0xC0000000, 24}, {0xC0A80000, 16}, {0xC6120000, 15}, {0xE0000000, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(nets); i++)
        if (((address ^ nets[i].net) >> (32 - nets[i].bits)) == 0)
            return true;
    return false;
}

/* Only 2000::/3 is public; what wraps an IPv4 address is judged by that. */
static bool ipv6_is_private(const struct in6_addr *address)
{
    uint32_t words[4];
    for (int i = 0; i < 4; i++) {
        memcpy(&words[i], address->s6_addr + 4 * i, sizeof words[i]);
        words[i] = ntohl(words[i]);
    }
    if (words[0] == 0x0064FF9B)
        return ipv4_is_private(words[3]);
    if (words[0] >> 16 == 0x2002)
        return ipv4_is_private(words[0] << 16 | words[1] >> 16);
    if (words[0] == 0 && words[1] == 0 && words[2] == 0xFFFF)
        return ipv4_is_private(words[3]);
    return words[0] >> 29 != 1;
}

bool http_address_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        return ipv4_is_private(ntohl(four.sin_addr.s_addr));
    }
    struct sockaddr_in6 six;
    if (address->sa_family != AF_INET6)
        return true;
    memcpy(&six, (const void *)address, sizeof six);
    return ipv6_is_private(&six.sin6_addr);
}

bool http_host_is_private(struct arena *a, const char *url)
{
    CURLU *u CLEANUP(cleanup_url) = url_parse(url);
    const char *host = u ? url_part(u, CURLUPART_HOST, 0, a) : NULL;
    if (host && str_ends(host, "."))
        host = arena_strndup(a, host, strlen(host) - 1);
    if (str_empty(host) || str_eq(host, "localhost") || str_ends(host, ".localhost"))
        return true;
    struct in6_addr six;
    if (host[0] == '[') {
        const char *bare = arena_strndup(a, host + 1, strcspn(host + 1, "]%"));
        return inet_pton(AF_INET6, bare, &six) != 1 || ipv6_is_private(&six);
    }
    /* inet_aton also reads the odd spellings (0x7f.1, 2130706433) that a resolver would accept. */
    struct in_addr four;
    return inet_aton(host, &four) != 0 && ipv4_is_private(ntohl(four.s_addr));
}

int64_t http_retry_after(const struct http_resp *resp, int64_t now_s)
{
    const char *value = http_header(&resp->headers, "Retry-After");
    int64_t seconds = 0;
    if (str_empty(value))
        return 0;
    if (*value >= '0' && *value <= '9') {
        if (!str_to_i64(value, &seconds))
            return 0;
        /* Docker Hub sends the moment itself as a unix time stamp. */
        if (seconds >= 1000000000)
            seconds -= now_s;
    } else {
        time_t when = curl_getdate(value, NULL);
        seconds = when == -1 ? 0 : (int64_t)when - now_s;
    }
    if (seconds < 0)
        return 0;
    return seconds > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S : seconds;
}

enum err_kind http_status_kind(int status)
{
    if (status == 408 || status == 425 || status == 429)
        return ERR_TEMP;
    return status >= 500 && status != 501 ? ERR_TEMP : ERR_PERM;
}

const char *http_call_fault(const struct http_call *call)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    const struct http_req *req = &call->req;
    if (str_empty(req->method) || req->method[strspn(req->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
        return "the method is malformed";
    if (!http_origin(&scratch, req->url))
        return "the URL is malformed";
    if (call->source && (!call->source->read || req->body))
        return "a source stands beside a body, or can't be read";
    if (call->source && (str_eq(req->method, "GET") || str_eq(req->method, "HEAD")))
        return "its method takes no body";
    if (call->sink && !call->sink->write)
        return "the sink takes nothing";
    for (size_t i = 0; i < req->headers.n; i++) {
        const struct http_header *h = &req->headers.at[i];
        if (str_empty(h->name) || strpbrk(h->name, "\r\n: ;") || strpbrk(h->value, "\r\n"))
            return "a header is malformed";
    }
    return NULL;
}
