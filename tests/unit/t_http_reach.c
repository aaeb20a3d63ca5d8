#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/http.h"
#include "tests/unit/stream_peer.h"

struct fixture {
    struct stream_peer web;  /* plain HTTP, also as a proxy */
    struct peer files;       /* a folder: two authorities, their certificates, configurations */
    struct peer tls, mutual; /* nginx with HTTP/2; a server that wants a client's certificate */
    struct http_client *http;
};

static const char *path(struct arena *a, const struct fixture *f, const char *name)
{
    return peer_path(a, &f->files, name);
}

/* --- certificates and servers -------------------------------------------------------------------
 */

/* ca.crt signs server.pem and client.pem; other.crt signs nothing here, stranger.pem is its own. */
static const char make_certificates[] =
    "set -e; cd \"$1\"\n"
    "root() { openssl req -x509 -newkey rsa:2048 -nodes -keyout $1.key -subj /CN=$1 -days 2 "
    "-out $1.crt; }\n"
    "leaf() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -subj /CN=$1 -out $1.csr\n"
    "  printf 'subjectAltName=IP:127.0.0.1\\n' > $1.ext\n"
    "  openssl x509 -req -in $1.csr -CA $2.crt -CAkey $2.key -days 2 -extfile $1.ext "
    "-out $1.pem; }\n"
    "root ca; root other; leaf server ca; leaf client ca; leaf second ca; leaf stranger other\n"
    "cat client.pem client.key > both.pem; cp client.pem lame.pem\n"
    "openssl rsa -aes128 -passout pass:geheim -in client.key -out locked.key\n"
    "mkdir certs.d empty.d broken.d two.d\n"
    "printf '%s' \"$(cat ca.crt)\" > certs.d/ca.crt; echo nonsense > certs.d/readme.txt\n"
    "cp other.crt two.d/a.crt; cp ca.crt two.d/b.crt\n"
    "head -c 2000000 /dev/zero > broken.d/large.crt\n";

/* Prints its port, then answers each request with the subject that the client showed. */
static const char mutual_server[] =
    "import http.server, ssl, time\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version = 'HTTP/1.1'\n"
    "    def log_message(self, *args):\n"
    "        pass\n"
    "    def do_GET(self):\n"
    "        name = dict(x[0] for x in self.connection.getpeercert()['subject'])['commonName']\n"
    "        self.send_response(200)\n"
    "        self.send_header('Content-Length', str(len(name)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(name.encode())\n"
    "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
    "context.load_cert_chain('server.pem', 'server.key')\n"
    "context.load_verify_locations('ca.crt')\n"
    "context.verify_mode = ssl.CERT_REQUIRED\n"
    "class S(http.server.ThreadingHTTPServer):\n"
    "    daemon_threads = True\n"
    "    def handle_error(self, *args):\n"
    "        pass\n"
    "    def finish_request(self, request, address):\n"
    "        with context.wrap_socket(request, server_side=True,\n"
    "                                 do_handshake_on_connect=False) as tls:\n"
    "            try:\n"
    "                tls.do_handshake()\n"
    "            except ssl.SSLError:\n"
    "                time.sleep(0.5)  # a reset at once would overtake the alert\n"
    "                raise\n"
    "            self.RequestHandlerClass(tls, address, self)\n"
    "server = S(('127.0.0.1', 0), H)\n"
    "print('port=%d' % server.server_port, flush=True)\n"
    "server.serve_forever()\n";

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&address, &len), 0);
    (void)close(s);
    return ntohs(address.sin_port);
}

/* nginx with TLS: answers the protocol and the connection's number. */
static void start_nginx(struct fixture *f)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct peer *p = &f->tls;
    peer_dir(p);
    p->port = free_port();
    (void)snprintf(p->host, sizeof p->host, "127.0.0.1:%d", p->port);
    peer_write(p, "nginx.conf",
               arena_printf(&a,
                            "daemon off; master_process off; pid %s/pid; error_log stderr;\n"
                            "events {}\n"
                            "http { access_log off; client_body_temp_path %s/body;\n"
                            "proxy_temp_path %s/proxy; fastcgi_temp_path %s/fastcgi;\n"
                            "uwsgi_temp_path %s/uwsgi; scgi_temp_path %s/scgi;\n"
                            "server { listen 127.0.0.1:%d ssl http2;\n"
                            "ssl_certificate %s; ssl_certificate_key %s;\n"
                            "location / { return 200 \"$server_protocol $connection\"; } } }\n",
                            p->dir, p->dir, p->dir, p->dir, p->dir, p->dir, p->port,
                            path(&a, f, "server.pem"), path(&a, f, "server.key")));
    const char *const argv[] = {"nginx", "-p", p->dir, "-c", peer_path(&a, p, "nginx.conf"), NULL};
    p->pid = peer_spawn(&a, p, argv);
    for (int i = 0; i < 1000; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)p->port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int s = socket(AF_INET, SOCK_STREAM, 0);
        int rc = connect(s, (struct sockaddr *)&address, sizeof address);
        (void)close(s);
        if (rc == 0)
            return;
        peer_pause(10);
    }
    (void)fprintf(stderr, "nginx did not start: %s\n", peer_read(&a, p, "err"));
    abort();
}

static void start_mutual(struct fixture *f)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    peer_dir(&f->mutual);
    peer_write(&f->files, "mutual.py", mutual_server);
    const char *const argv[] = {
        "/bin/sh", "-c", "cd \"$1\" && exec /usr/bin/python3 mutual.py", "sh", f->files.dir, NULL};
    peer_start(&f->mutual, argv, "out", "port=");
}

static struct http_call get_of(struct arena *a, const char *scheme, const char *host,
                               const char *target)
{
    return (struct http_call){
        .req = {.method = "GET", .url = arena_printf(a, "%s://%s%s", scheme, host, target)},
        .max_body = KIB(64)};
}

/* --- public addresses only ----------------------------------------------------------------------
 */

static void test_public_only(void **state)
{
    const struct fixture *f = *state;
    const char *port = strchr(f->web.host, ':');
    static const char *const hosts[] = {"127.0.0.1",          "localhost", "[::1]",
                                        "[::ffff:127.0.0.1]", "0.0.0.0",   "127.1"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct http_call call =
            get_of(&a, "http", arena_printf(&a, "%s%s", hosts[i], port), "/blob?size=5");
        call.via.public_only = true;
        for (int warm = 0; warm < 2; warm++) {
            int before = atomic_load(&f->web.connections);
            assert_int_equal(http_do(f->http, &a, &call, &err), -1);
            print_message("%s\n", err.text);
            assert_int_equal(err.kind, ERR_PERM);
            assert_non_null(strstr(err.text, "is not public"));
            assert_int_equal(before, atomic_load(&f->web.connections));
            /* An ordinary call leaves a warm connection behind, which is no way around. */
            call.via.public_only = false;
            (void)http_do(f->http, &a, &call, &err);
            call.via.public_only = true;
        }
        call.via.public_only = false;
        if (i == 0) { /* and the warm connection is still good for others */
            int before = atomic_load(&f->web.connections);
            assert_int_equal(http_do(f->http, &a, &call, &err), 0);
            assert_in_range(atomic_load(&f->web.connections) - before, 0, 1);
        }
    }
}

/* --- proxies ------------------------------------------------------------------------------------
 */

static void test_proxy(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    (void)setenv("no_proxy", "*", 1); /* must be of no consequence */
    struct http_call call = get_of(&a, "http", "registry.example.invalid", "/blob?size=7");
    call.via.proxy = arena_printf(&a, "http://ci:geheim@%s", f->web.host);
    assert_int_equal(http_do(f->http, &a, &call, &err), 0);
    assert_int_equal(call.resp.body_len, 7);
    const char *head = stream_seen(&a, &f->web);
    assert_true(str_starts(head, "GET http://registry.example.invalid/blob?size=7 HTTP/1.1\r\n"));
    assert_non_null(strstr(head, "Proxy-Authorization: Basic Y2k6Z2VoZWlt\r\n"));
    /* Another user of the same proxy gets a connection of its own, and none is no user at all. */
    call.via.proxy = arena_printf(&a, "http://%s", f->web.host);
    assert_int_equal(http_do(f->http, &a, &call, &err), 0);
    assert_null(strstr(stream_seen(&a, &f->web), "Proxy-Authorization"));
    call.via.proxy = NULL;
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP); /* no such host without the proxy */
}

static void test_proxy_errors(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *proxy;
        enum err_kind kind;
    } table[] = {
        {"http://ci:geheim@127.0.0.1:1", ERR_TEMP},
        {"https://ci:geheim@127.0.0.1:1", ERR_TEMP},
        {"socks5h://ci:geheim@127.0.0.1:1", ERR_TEMP},
        {"http://ci:geheim@proxy.example.invalid:1", ERR_TEMP},
        {"socks4://ci:geheim@127.0.0.1:1", ERR_CONFIG},
        {"ftp://ci:geheim@127.0.0.1:1", ERR_CONFIG},
        {"ci:geheim@127.0.0.1:1", ERR_CONFIG},
        {"http://ci:geh/geheim@127.0.0.1:1", ERR_CONFIG},
        {"http://ci:geheim@", ERR_CONFIG},
        {"geheim", ERR_CONFIG},
        {"", ERR_CONFIG},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct http_call call =
            get_of(&a, i % 2 ? "https" : "http", "registry.example.invalid", "/x");
        call.via.proxy = table[i / 2].proxy;
        assert_int_equal(http_do(f->http, &a, &call, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, table[i / 2].kind);
        assert_null(strstr(err.text, "geheim"));
        call.via.public_only = true;
        assert_int_equal(http_do(f->http, &a, &call, &err), -1);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_null(strstr(err.text, "geheim"));
    }
}

static void test_proxy_refuses(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        enum err_kind kind;
    } table[] = {{407, ERR_CONFIG}, {403, ERR_PERM}, {503, ERR_TEMP}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct http_call call = get_of(&a, "https", "registry.example.invalid", "/x");
        http_header_add(&a, &call.req.headers, "Authorization", "Bearer for-the-origin-alone");
        atomic_store(&f->web.connect_status, table[i].status);
        call.via.proxy = arena_printf(&a, "http://ci:geheim@%s", f->web.host);
        assert_int_equal(http_do(f->http, &a, &call, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, table[i].kind);
        assert_null(strstr(err.text, "geheim"));
        assert_int_equal(call.resp.status, 0);
        const char *head = stream_seen(&a, &f->web);
        assert_true(str_starts(head, "CONNECT registry.example.invalid:443 HTTP/1.1\r\n"));
        assert_null(strstr(head, "for-the-origin-alone"));
    }
}

/* --- trust --------------------------------------------------------------------------------------
 */

static void test_ca_dir(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *ca_file, *ca_dir;
        enum err_kind kind; /* ERR_NONE: it is trusted */
    } table[] = {
        {NULL, "certs.d", ERR_NONE},        {NULL, "two.d", ERR_NONE},
        {"other.crt", "certs.d", ERR_NONE}, {"ca.crt", "empty.d", ERR_NONE},
        {"ca.crt", NULL, ERR_NONE},         {NULL, "empty.d", ERR_CONFIG},
        {"other.crt", NULL, ERR_CONFIG},    {"other.crt", "empty.d", ERR_CONFIG},
        {NULL, "broken.d", ERR_CONFIG},     {NULL, "missing.d", ERR_CONFIG},
        {"missing", "certs.d", ERR_CONFIG}, {"missing", NULL, ERR_CONFIG},
        {"server.key", NULL, ERR_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct http_call call = get_of(&a, "https", f->tls.host, "/");
        call.via.ca_file = table[i].ca_file ? path(&a, f, table[i].ca_file) : NULL;
        call.via.ca_dir = table[i].ca_dir ? path(&a, f, table[i].ca_dir) : NULL;
        int rc = http_do(f->http, &a, &call, &err);
        print_message("%s %s: %s\n", table[i].ca_file, table[i].ca_dir, rc ? err.text : "ok");
        assert_int_equal(rc, table[i].kind == ERR_NONE ? 0 : -1);
        if (rc < 0)
            assert_int_equal(err.kind, table[i].kind);
        else
            assert_int_equal(call.resp.status, 200);
    }
}

/* Who showed which certificate; each is tried twice, so that a warm connection could be taken. */
static void test_client_certificate(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *cert, *key, *name; /* NULL name: refused */
    } table[] = {
        {NULL, NULL, NULL},
        {"client.pem", "client.key", "client"},
        {NULL, NULL, NULL},
        {"second.pem", "second.key", "second"},
        {"both.pem", NULL, "client"},
        {"stranger.pem", "stranger.key", NULL},
        {"lame.pem", "locked.key", NULL}, /* and nobody is asked for its password */
        {"lame.pem", "second.key", NULL},
        {"missing", NULL, NULL},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        size_t row = i % ARRAY_LEN(table);
        struct http_call call = get_of(&a, "https", f->mutual.host, "/");
        call.via.ca_file = path(&a, f, "ca.crt");
        call.via.client_cert = table[row].cert ? path(&a, f, table[row].cert) : NULL;
        call.via.client_key = table[row].key ? path(&a, f, table[row].key) : NULL;
        int rc = http_do(f->http, &a, &call, &err);
        print_message("%s %s: %s\n", table[row].cert, table[row].key,
                      rc ? err.text : call.resp.body);
        if (table[row].name) {
            assert_int_equal(rc, 0);
            assert_string_equal(call.resp.body, table[row].name);
        } else {
            assert_int_equal(rc, -1);
            assert_int_equal(err.kind, ERR_CONFIG);
        }
    }
}

/* A call that wants HTTP/1.1 shares no connection with one of HTTP/2, whichever is there first. */
static void test_http1(void **state)
{
    const struct fixture *f = *state;
    static const char *const targets[] = {"/a", "/b", "/c"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    for (int round = 0; round < 3; round++) {
        struct http_call calls[6];
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
            calls[i] = get_of(&a, "https", f->tls.host, targets[i % 3]);
            calls[i].via.ca_file = path(&a, f, "ca.crt");
            calls[i].via.http1 = i >= 3;
        }
        /* In the second round the two kinds are under way at the same time. */
        if (round == 1) {
            assert_int_equal(http_all(f->http, &a, calls, ARRAY_LEN(calls)), 0);
        } else {
            for (size_t i = 0; i < ARRAY_LEN(calls); i++)
                assert_int_equal(http_do(f->http, &a, &calls[i], NULL), 0);
        }
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
            print_message("%zu: %s\n", i, calls[i].resp.body);
            if (i >= 3)
                assert_true(str_starts(calls[i].resp.body, "HTTP/1.1 "));
            else if (round == 0)
                assert_true(str_starts(calls[i].resp.body, "HTTP/2.0 "));
        }
    }
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    int status;
    peer_dir(&f->files);
    pid_t pid = fork();
    if (pid == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        (void)execlp("sh", "sh", "-c", make_certificates, "sh", f->files.dir, NULL);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return -1;
    stream_peer_start(&f->web);
    start_nginx(f);
    start_mutual(f);
    f->http = http_client_new(NULL, &err);
    *state = f;
    return f->http ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->http);
    stream_peer_stop(&f->web);
    peer_stop(&f->mutual);
    peer_stop(&f->tls);
    (void)nftw(f->files.dir, peer_unlink, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_only),  cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_proxy_errors), cmocka_unit_test(test_proxy_refuses),
        cmocka_unit_test(test_ca_dir),       cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_http1),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
