#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/fs.h"
#include "tests/unit/blob_help.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

/* --- one blob from one fake to another, by all manners -------------------------------------------
 */

/* A row: manners and faults of both ends, and what comes of it. */
struct row {
    const char *says;      /* what the row is about */
    const char *at_source; /* config; NULL: good manners */
    const char *at_target;
    const char *source_rule;
    const char *target_rule;
    size_t size; /* 0: 1 MiB */
    size_t chunk;
    bool paired;        /* the storages are paired */
    const char *target; /* requests, with their statuses */
    const char *source; /* the same; NULL: one GET */
    const char *error;  /* part of its text; NULL: it works */
    enum err_kind kind;
};

#define CUT "{\"path\":\"/blobs/sha256\",\"method\":\"GET\",\"mangle\":{\"short\":300000}}"
#define RULE(method, rest) "{\"path\":\"/blobs/\",\"method\":\"" method "\"," rest "}"
#define MANGLE(how) RULE("GET", "\"mangle\":{" how "}")
#define USUALLY "HEAD:404 POST:202 PUT:201"
/* How far the upload came before it was ended is a matter of chance. */
#define ENDED "HEAD:404 POST:202 *DELETE:204"
#define CHUNK KIB(256)
#define PATCHES "PATCH:202 PATCH:202 PATCH:202 PATCH:202 PUT:201"

static const struct row rows[] = {
    {"plain", .target = USUALLY},
    {"one byte", .size = 1, .target = USUALLY},
    {"two", .size = 2, .target = USUALLY},
    {"a length for every POST", .at_target = "{\"post_needs_length\":true}", .target = USUALLY},
    {"Location: relative to the request", .target = USUALLY,
     .at_target = "{\"upload_location\":\"{id}?_state={state}\"}"},
    {"Location: without a query", .target = USUALLY,
     .at_target = "{\"upload_location\":\"/v2/{name}/blobs/uploads/{id}\"}"},
    {"Location: absolute", .target = USUALLY,
     .at_target = "{\"upload_location\":"
                  "\"http://127.0.0.1:{port}/v2/{name}/blobs/uploads/{id}?_state={state}\"}"},
    {"Location: somebody else's private address", .target = "HEAD:404 POST:202", .source = "",
     .at_target = "{\"upload_location\":\"http://10.1.2.3/x?sig=hidden\"}", .error = "10.1.2.3",
     .kind = ERR_PERM},
    {"Location: another port", .target = "HEAD:404 POST:202", .source = "",
     .at_target = "{\"upload_location\":\"http://127.0.0.1:{storage}/v2/{name}/blobs/uploads/"
                  "{id}?_state={state}\"}",
     .error = "upload", .kind = ERR_PERM},
    {"Location: another port that is paired", .target = "HEAD:401 HEAD:404 POST:202 PUT:201",
     .paired = true,
     .at_target = "{\"auth\":\"basic\",\"upload_location\":\"http://127.0.0.1:{storage}/v2/{name}/"
                  "blobs/uploads/{id}?_state={state}\"}"},
    {"basic", .at_source = "{\"auth\":\"basic\"}", .at_target = "{\"auth\":\"basic\"}",
     .target = "HEAD:401 HEAD:404 POST:202 PUT:201", .source = "GET:401 GET:200"},
    {"bearer", .at_source = "{\"auth\":\"bearer\"}", .at_target = "{\"auth\":\"bearer\"}",
     .target = "HEAD:401 token:200 HEAD:404 POST:202 PUT:201",
     .source = "GET:401 token:200 GET:200"},
    {"not there", .source_rule = RULE("GET", "\"status\":404"), .source = "GET:404",
     .target = ENDED, .error = "404", .kind = ERR_PERM},
    {"no HEAD of blobs", .target_rule = RULE("HEAD", "\"status\":405"),
     .target = "HEAD:405 POST:202 PUT:201"},
    {"the target can't be asked", .target_rule = RULE("HEAD", "\"status\":403"), .source = "",
     .target = "HEAD:403", .error = "refused", .kind = ERR_PERM},

    {"wrong bytes", .source_rule = MANGLE("\"flip\":99"), .target = ENDED, .error = "wrong bytes",
     .kind = ERR_PERM},
    {"wrong first byte", .source_rule = MANGLE("\"flip\":0"), .size = 1, .target = ENDED,
     .error = "wrong bytes", .kind = ERR_PERM},
    {"too long, and said so", .source_rule = MANGLE("\"long\":1"), .target = ENDED,
     .error = "wrong bytes", .kind = ERR_PERM},
    {"too long, length unknown", .target = ENDED, .error = "wrong bytes", .kind = ERR_PERM,
     .source_rule = MANGLE("\"long\":20000,\"chunked\":true")},
    {"chunked", .source_rule = MANGLE("\"chunked\":true"), .target = USUALLY},
    {"no length", .source_rule = MANGLE("\"drop\":[\"Content-Length\"]"), .target = USUALLY},
    {"packed though not asked", .source_rule = MANGLE("\"gzip\":true"), .target = ENDED,
     .error = "Content-Encoding", .kind = ERR_PERM},
    {"a bomb", .source_rule = RULE("GET", "\"bomb\":20"), .target = ENDED,
     .error = "Content-Encoding", .kind = ERR_PERM},
    {"endless headers", .source_rule = RULE("GET", "\"endless\":\"headers\""), .target = ENDED,
     .source = "GET:200", .error = "headers", .kind = ERR_PERM},
    {"endless body", .source_rule = RULE("GET", "\"endless\":\"body\""), .target = ENDED,
     .error = "wrong bytes", .kind = ERR_PERM},

    {"goes on by Range", .source_rule = CUT, .target = USUALLY, .source = "GET:200 GET:206"},
    {"goes on without Range", .source_rule = CUT, .at_source = "{\"blob_range\":\"ignored\"}",
     .target = USUALLY, .source = "GET:200 GET:200"},
    {"a Range that is not what it says", .source_rule = CUT, .source = "GET:200 GET:206",
     .at_source = "{\"blob_range\":\"lying\"}", .target = ENDED, .error = "wrong bytes",
     .kind = ERR_PERM},
    {"Range refused", .source_rule = CUT, .at_source = "{\"blob_range\":\"refused\"}",
     .source = "GET:200 GET:416 GET:200", .target = USUALLY},
    {"Range refused, again and again", .at_source = "{\"blob_range\":\"refused\"}",
     .source_rule = RULE("GET", "\"times\":3,\"mangle\":{\"short\":300000}"),
     .source = "GET:200 GET:416 GET:200 GET:200", .target = USUALLY},
    {"416 without a Range", .source_rule = RULE("GET", "\"times\":9,\"status\":416"),
     .source = "GET:416", .target = ENDED, .error = "416", .kind = ERR_PERM},
    {"an early end that looks like one",
     .source_rule = MANGLE("\"drop\":[\"Content-Length\"],\"short\":1000"), .target = USUALLY,
     .source = "GET:200 GET:206"},
    {"short for good", .target = ENDED, .error = "wrong bytes: 1000 bytes instead",
     .at_source = "{\"blob_range\":\"ignored\"}", .kind = ERR_PERM, .source = "GET:200 GET:200",
     .source_rule =
         RULE("GET", "\"times\":9,\"mangle\":{\"drop\":[\"Content-Length\"],\"short\":1000}")},
    {"hung up on", .source_rule = RULE("GET", "\"close\":true,\"times\":2"),
     .source = "GET:0 GET:0 GET:200", .target = USUALLY},
    {"busy", .source_rule = RULE("GET", "\"status\":503"), .source = "GET:503 GET:200",
     .target = USUALLY},
    {"asked to wait", .source_rule = RULE("GET", "\"status\":429,\"retry_after\":\"seconds:1\""),
     .source = "GET:429 GET:200", .target = USUALLY},

    {"redirected to a stranger", .target = ENDED, .error = "not followed", .kind = ERR_PERM,
     .at_source = "{\"blob_redirect\":\"http://127.0.0.1:{storage}/{name}/{digest}?sig=hidden\"}",
     .source = "GET:307"},
    {"redirected to its storage", .target = USUALLY, .paired = true,
     .at_source = "{\"auth\":\"basic\",\"blob_redirect\":"
                  "\"http://127.0.0.1:{storage}/{name}/{digest}?sig=a%2Fb%3D\"}",
     .source = "GET:401 GET:307 GET:200"},
    {"goes on with a fresh redirect", .target = USUALLY, .paired = true,
     .at_source = "{\"blob_redirect\":\"http://127.0.0.1:{storage}/{name}/{digest}\"}",
     .source_rule = "{\"path\":\"^/team/other/sha256\",\"mangle\":{\"short\":300000}}",
     .source = "GET:307 GET:200 GET:307 GET:206"},
    {"redirected for ever", .target = ENDED, .error = "one redirect too many", .kind = ERR_PERM,
     .at_source = "{\"blob_redirect\":\"/v2/{name}/blobs/{digest}\"}",
     .source = "GET:307 GET:307 GET:307 GET:307"},

    {"an upload that breaks", .at_target = "{\"upload_cut\":100000}",
     .target = "HEAD:404 POST:202 *DELETE:204 *POST:202 PUT:201", .source = "GET:200 GET:200"},
    {"a busy target", .target_rule = RULE("PUT", "\"status\":503"), .source = "GET:200 GET:200",
     .target = "HEAD:404 POST:202 PUT:503 DELETE:204 HEAD:404 POST:202 PUT:201"},
    {"a session that is lost", .target_rule = RULE("PUT", "\"status\":404"),
     .source = "GET:200 GET:200",
     .target = "HEAD:404 POST:202 PUT:404 DELETE:204 HEAD:404 POST:202 PUT:201"},
    {"an upload that is refused", .target_rule = RULE("PUT", "\"status\":403"),
     .target = "HEAD:404 POST:202 PUT:403 DELETE:204", .error = "refused to push",
     .kind = ERR_PERM},
    {"no uploads at all", .target_rule = RULE("POST", "\"status\":405"), .source = "",
     .target = "HEAD:404 POST:405", .error = "405", .kind = ERR_PERM},
    {"an odd success", .target_rule = RULE("PUT", "\"mangle\":{\"status\":204}"),
     .target = "HEAD:404 POST:202 PUT:204 HEAD:200"},
    {"a success without effect", .target_rule = RULE("PUT", "\"status\":202"),
     .target = "HEAD:404 POST:202 PUT:202 HEAD:404 DELETE:204 POST:202 PUT:201",
     .source = "GET:200 GET:200"},
    {"credentials that went stale", .target_rule = RULE("PUT", "\"status\":401"),
     .target = "HEAD:404 POST:202 PUT:401 DELETE:204", .error = "401", .kind = ERR_PERM},

    {"too large for one PUT", .size = MIB(5), .source = "GET:200 GET:200",
     .at_target = "{\"body_limit\":4194304}",
     .target = "HEAD:404 POST:202 PUT:413 DELETE:204 POST:202 PATCH:202 PATCH:202 PUT:201"},
    {"416 for one PUT, before its end", .size = MIB(5), .source = "GET:200 GET:200",
     .at_target = "{\"body_limit\":4194304,\"body_limit_status\":416,\"refuse_early\":true}",
     .target = "HEAD:404 POST:202 PUT:416 DELETE:204 POST:202 PATCH:202 PATCH:202 PUT:201"},
    {"too large for a chunk too", .size = KIB(1500), .source = "GET:200 GET:200 GET:200",
     .at_target = "{\"body_limit\":1048576}",
     .target = "HEAD:404 POST:202 PUT:413 DELETE:204 POST:202 PATCH:413 DELETE:204 POST:202 "
               "PATCH:202 PATCH:202 PUT:201"},
    {"too large however small", .at_target = "{\"body_limit\":1000}", .error = "413",
     .source = "GET:200 GET:200 GET:200 GET:200",
     .target = "HEAD:404 POST:202 PUT:413 DELETE:204 POST:202 PATCH:413 DELETE:204 POST:202 "
               "PATCH:413 DELETE:204 POST:202 PATCH:413 DELETE:204",
     .kind = ERR_PERM},
    {"chunks as the operator says", .chunk = CHUNK, .target = "HEAD:404 POST:202 " PATCHES},
    {"no chunks for what is smaller", .chunk = MIB(1), .target = USUALLY},
    {"a last chunk of one byte", .chunk = CHUNK, .size = CHUNK + 1,
     .target = "HEAD:404 POST:202 PATCH:202 PATCH:202 PUT:201"},
    {"PATCH 204", .chunk = CHUNK, .at_target = "{\"patch_status\":204}",
     .target = "HEAD:404 POST:202 PATCH:204 PATCH:204 PATCH:204 PATCH:204 PUT:201"},
    {"PATCH 201, stale Range", .chunk = CHUNK,
     .at_target = "{\"patch_status\":201,\"upload_range\":\"stale\"}",
     .target = "HEAD:404 POST:202 PATCH:201 PATCH:201 PATCH:201 PATCH:201 PUT:201"},
    {"Range off by one", .chunk = CHUNK, .at_target = "{\"upload_range\":\"off_by_one\"}",
     .target = "HEAD:404 POST:202 " PATCHES},
    {"no Range", .chunk = CHUNK, .at_target = "{\"upload_range\":\"missing\"}",
     .target = "HEAD:404 POST:202 " PATCHES},
    {"chunks of at least so much", .size = MIB(11),
     .at_target = "{\"chunk_min\":5242880,\"chunk_min_strict\":false}",
     .target = "HEAD:404 POST:202 PATCH:202 PATCH:202 PATCH:202 PUT:201"},
    {"chunks of at most so much", .size = MIB(1), .at_target = "{\"chunk_max\":300000}",
     .target = "HEAD:404 POST:202 " PATCHES},
    {"chunks beyond all measure", .at_target = "{\"chunk_min\":2147483648}", .source = "",
     .target = "HEAD:404 POST:202 DELETE:204", .error = "2147483648", .kind = ERR_PERM},
    {"416: the registry says where it is", .chunk = CHUNK,
     .target_rule = RULE("PATCH", "\"skip\":1,\"status\":416"),
     .target = "HEAD:404 POST:202 PATCH:202 PATCH:416 GET:204 PATCH:202 PATCH:202 PATCH:202 "
               "PUT:201"},
    {"416, off by one", .chunk = CHUNK, .at_target = "{\"upload_range\":\"bytes\"}",
     .target_rule = RULE("PATCH", "\"skip\":1,\"status\":416"),
     .target = "HEAD:404 POST:202 PATCH:202 PATCH:416 GET:204 PATCH:202 PATCH:202 PATCH:202 "
               "PUT:201"},
    {"a chunk that breaks", .chunk = CHUNK, .at_target = "{\"upload_cut\":100000}",
     .target = "HEAD:404 POST:202 PATCH:0 GET:204 PATCH:202 PATCH:202 PATCH:202 PATCH:202 "
               "PUT:201"},
    {"a chunk that was taken, though the answer was lost", .chunk = CHUNK,
     .at_target = "{\"upload_location\":\"/v2/{name}/blobs/uploads/{id}\"}",
     .target_rule = RULE("PATCH", "\"mangle\":{\"status\":503}"),
     .target = "HEAD:404 POST:202 PATCH:503 GET:204 PATCH:202 PATCH:202 PATCH:202 PUT:201"},
    {"the download breaks amid chunks", .chunk = CHUNK, .source_rule = CUT,
     .source = "GET:200 GET:206", .target = "HEAD:404 POST:202 " PATCHES},
    {"wrong bytes in chunks", .chunk = CHUNK, .source_rule = MANGLE("\"flip\":1048575"),
     .target = ENDED, .error = "wrong bytes", .kind = ERR_PERM},
};

static bool row_holds(struct fakes *f, const struct row *row, struct arena *a)
{
    struct err err = ERR_INIT;
    struct moved moved = {0};
    enum blob_way way = (enum blob_way)99;
    size_t size = row->size ? row->size : MIB(1);
    struct descriptor blob = fake_blob(f, a, "team/other", size);
    fake_manners(&f->source, row->at_source, row->source_rule);
    fake_manners(&f->target, row->at_target, row->target_rule);
    f->confs[1].chunk = row->chunk;
    struct blob_progress progress = {.moved = on_moved, .user = &moved};
    struct endpoint from = fake_endpoint(f, 0, "team/other"), to = fake_endpoint(f, 1, NAME);
    int rc = blob_copy(&from, &to, &blob, false, &progress, &way, &err);
    const char *source = fake_log(a, &f->source), *target = fake_log(a, &f->target);
    const char *dump = fake_dump(a, &f->target);
    bool stored = strstr(dump, blob.digest) != NULL;
    bool as_said =
        str_glob(row->target, target) && str_eq(source, row->source ? row->source : "GET:200");
    print_message("%s: %s\n", row->says, rc < 0 ? err.text : "");
    /* No session is left open where one could be ended. */
    bool tidy = strstr(dump, "\"uploads\": []") || str_ends(row->target, "POST:202");
    bool good = rc == 0 ? !row->error && way == BLOB_MOVED
                        : row->error && err.kind == row->kind && strstr(err.text, row->error) &&
                              !strstr(err.text, "hidden");
    if (good && as_said && tidy && stored == (rc == 0) &&
        atomic_load(&moved.bytes) == (rc == 0 ? (int64_t)size : 0))
        return true;
    print_error("%s: %d kind %d, way %d, moved %lld, source \"%s\", target \"%s\", %s\n", row->says,
                rc, (int)err.kind, (int)way, (long long)atomic_load(&moved.bytes), source, target,
                dump);
    return false;
}

static void test_rows(void **state)
{
    const char *only = getenv("ROW");
    size_t wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        if (only && !strstr(rows[i].says, only))
            continue;
        fakes_open(*state, rows[i].paired);
        wrong += !row_holds(*state, &rows[i], &a);
        fakes_close(*state);
    }
    assert_int_equal(wrong, 0);
}

static void test_absent(void **state)
{
    struct fakes *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    enum blob_way way;
    const void *bytes;
    size_t len;
    fakes_open(f, false);
    struct descriptor blob = {.digest = arena_printf(&a, "sha256:%064d", 5), .size = 10};
    struct endpoint from = fake_endpoint(f, 0, "team/other"), to = fake_endpoint(f, 1, NAME);
    assert_int_equal(blob_copy(&from, &to, &blob, true, NULL, &way, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(err.code, ENOENT);
    assert_true(str_glob("POST:202 *DELETE:204", fake_log(&a, &f->target)));
    assert_int_equal(blob_read(&from, blob.digest, 10, &a, &bytes, &len, &err), -1);
    assert_int_equal(err.code, ENOENT);
    bool there = true;
    assert_int_equal(blob_exists(&to, &blob, &a, &there, &err), 0);
    assert_false(there);
    /* Legal requests only. */
    blob.digest = "sha256:../x";
    assert_int_equal(blob_copy(&from, &to, &blob, true, NULL, &way, &err), -1);
    blob.digest = arena_printf(&a, "sha256:%064d", 5);
    blob.size = -1;
    assert_int_equal(blob_copy(&from, &to, &blob, true, NULL, &way, &err), -1);
    blob.size = 5;
    to.name = "../x";
    assert_int_equal(blob_copy(&from, &to, &blob, true, NULL, &way, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    to.name = NAME;
    to.host = "other.example.org";
    assert_int_equal(blob_copy(&from, &to, &blob, true, NULL, &way, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    fakes_close(f);
}

/* Within one registry. */
static void test_mounts(void **state)
{
    struct fakes *f = *state;
    static const struct {
        const char *config;
        bool known_absent;
        enum blob_way way;
        const char *log;
    } table[] = {
        {"{}", true, BLOB_MOUNTED, "POST:201"},
        {"{}", false, BLOB_MOUNTED, "HEAD:404 POST:201"},
        {"{\"mount\":202}", true, BLOB_MOVED, "POST:202 GET:200 PUT:201"},
        {"{\"mount\":404}", true, BLOB_MOVED, "POST:404 POST:202 GET:200 PUT:201"},
        {"{\"mount\":405}", true, BLOB_MOVED, "POST:405 POST:202 GET:200 PUT:201"},
        {"{\"mount\":500}", true, BLOB_MOVED, NULL},
        {"{\"auth\":\"bearer\"}", true, BLOB_MOUNTED, "POST:401 token:200 POST:201"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        enum blob_way way;
        fakes_open(f, false);
        struct descriptor blob = fake_blob(f, &a, "team/other", 1000);
        fake_manners(&f->source, table[i].config, NULL);
        struct endpoint from = fake_endpoint(f, 0, "team/other"), to = fake_endpoint(f, 0, NAME);
        if (blob_copy(&from, &to, &blob, table[i].known_absent, NULL, &way, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(way, table[i].way);
        const char *log = fake_log(&a, &f->source);
        /* A GET and a PUT start together. */
        if (table[i].log && !str_eq(log, table[i].log) && !strstr(log, "PUT:201 GET:200"))
            fail_msg("%s: %s", table[i].config, log);
        /* There now. */
        assert_int_equal(blob_copy(&from, &to, &blob, false, NULL, &way, &err), 0);
        assert_int_equal(way, BLOB_THERE);
        fakes_close(f);
    }
}

static void test_put(void **state)
{
    struct fakes *f = *state;
    static const struct {
        const char *config, *rule, *log, *error;
    } table[] = {
        {"{}", NULL, "POST:201", NULL},
        {"{\"auth\":\"bearer\"}", NULL, "POST:401 token:200 POST:201", NULL},
        {"{\"single_post\":202}", NULL, "POST:202 PUT:201", NULL},
        {"{}", RULE("POST", "\"status\":404"), "POST:404 POST:202 PUT:201", NULL},
        {"{}", RULE("POST", "\"status\":405,\"times\":2"), "POST:405 POST:405", "405"},
        {"{\"single_post\":202}", RULE("PUT", "\"status\":403"), "POST:202 PUT:403 DELETE:204",
         "403"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (size_t len = 0; len <= 2; len += 2) {
            struct arena a CLEANUP(arena_release) = ARENA_INIT;
            struct err err = ERR_INIT;
            char digest[CRYPT_DIGEST_TEXT];
            crypt_digest("{}", len, digest);
            fakes_open(f, false);
            fake_manners(&f->target, table[i].config, table[i].rule);
            struct endpoint to = fake_endpoint(f, 1, NAME);
            int rc = blob_put(&to, "{}", len, digest, &err);
            const char *log = fake_log(&a, &f->target);
            if ((rc != 0) != (table[i].error != NULL) || !str_eq(log, table[i].log))
                fail_msg("%s: %d %s %s", table[i].config, rc, log, err.text);
            assert_int_equal(strstr(fake_dump(&a, &f->target), digest) != NULL, rc == 0);
            assert_int_equal(blob_put(&to, "other", 5, digest, &err), -1);
            assert_int_equal(err.kind, ERR_BUG);
            fakes_close(f);
        }
    }
}

/* The blob of no bytes, from anywhere; and what says that it has none. */
static void test_empty(void **state)
{
    struct fakes *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    enum blob_way way;
    fakes_open(f, false);
    struct descriptor blob = fake_blob(f, &a, "team/other", 0);
    struct endpoint from = fake_endpoint(f, 0, "team/other"), to = fake_endpoint(f, 1, NAME);
    assert_int_equal(blob_copy(&from, &to, &blob, false, NULL, &way, &err), 0);
    assert_int_equal(way, BLOB_MOVED);
    assert_non_null(strstr(fake_dump(&a, &f->target), blob.digest));
    blob.digest = arena_printf(&a, "sha256:%064d", 1);
    assert_int_equal(blob_copy(&from, &to, &blob, false, NULL, &way, &err), -1);
    assert_non_null(strstr(err.text, "wrong bytes"));
    fakes_close(f);
}

/* --- layouts -------------------------------------------------------------------------------------
 */

static size_t files_in(struct arena *a, const struct layout *l)
{
    struct str_list names = {0};
    struct err err = ERR_INIT;
    const char *dir = arena_printf(a, "%s/blobs/sha256", layout_path(l));
    return fs_list(dir, NULL, a, &names, &err) < 0 ? 0 : names.n;
}

/* From a registry to a layout, to another one, and back into a registry. */
static void test_layouts(void **state)
{
    struct fakes *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct moved moved = {0};
    struct blob_progress progress = {.moved = on_moved, .user = &moved};
    enum blob_way way;
    char dir[] = "/tmp/slipway-blob-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct endpoint one = {.layout = layout_open(arena_printf(&a, "%s/1", dir), true, &err)};
    struct endpoint two = {.layout = layout_open(arena_printf(&a, "%s/2", dir), true, &err)};
    fakes_open(f, false);
    struct endpoint from = fake_endpoint(f, 0, "team/other"), to = fake_endpoint(f, 1, NAME);
    struct descriptor blob = fake_blob(f, &a, "team/other", MIB(3) + 1);
    fake_manners(&f->source, NULL, CUT);
    const struct endpoint *const ends[] = {&from, &one, &two, &to};
    for (size_t i = 0; i < 3; i++) {
        for (int again = 0; again < 2; again++) {
            if (blob_copy(ends[i], ends[i + 1], &blob, false, &progress, &way, &err) < 0)
                fail_msg("%s", err.text);
            assert_int_equal(way, again ? BLOB_THERE : BLOB_MOVED);
        }
    }
    assert_int_equal(atomic_load(&moved.bytes), 3 * blob.size);
    assert_string_equal(fake_log(&a, &f->source), "GET:200 GET:206");
    assert_non_null(strstr(fake_dump(&a, &f->target), blob.digest));
    const void *bytes;
    size_t len;
    assert_int_equal(blob_read(&two, blob.digest, MIB(4), &a, &bytes, &len, &err), 0);
    assert_int_equal(len, blob.size);
    /* Wrong bytes come from nowhere. */
    const char *file = arena_printf(&a, "%s/blobs/sha256/%s", layout_path(one.layout),
                                    strchr(blob.digest, ':') + 1);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, blob.size - 1), 1);
    (void)close(fd);
    struct endpoint three = {.layout = layout_open(arena_printf(&a, "%s/3", dir), true, &err)};
    to.name = "team/third";
    const struct endpoint *const targets[] = {&to, &three};
    for (size_t i = 0; i < 2; i++) {
        moved.bytes = 0;
        assert_int_equal(blob_copy(&one, targets[i], &blob, true, &progress, &way, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_PERM);
        assert_non_null(strstr(err.text, "wrong bytes"));
        assert_int_equal(atomic_load(&moved.bytes), 0);
    }
    fake_manners(&f->source, NULL, MANGLE("\"flip\":5"));
    assert_int_equal(blob_copy(&from, &three, &blob, true, &progress, &way, &err), -1);
    assert_non_null(strstr(err.text, "wrong bytes"));
    assert_null(strstr(fake_dump(&a, &f->target), "team/third"));
    /* A disk that fills. */
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = MIB(1);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = blob_copy(&from, &three, &blob, true, &progress, &way, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -1);
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, layout_path(three.layout)));
    assert_int_equal(files_in(&a, three.layout), 0);
    layout_close(one.layout);
    layout_close(two.layout);
    layout_close(three.layout);
    fakes_close(f);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

/* --- docker-registry -----------------------------------------------------------------------------
 */

#define LARGE ((int64_t)MIB(64))

/* What a sanitizer holds back is not ours. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define MEASURED false
#else
#    define MEASURED true
#endif

static int64_t private_kib(void)
{
    FILE *file CLEANUP(cleanup_file) = fopen("/proc/self/smaps_rollup", "r");
    char line[200];
    int64_t sum = 0;
    while (file && fgets(line, sizeof line, file))
        if (str_starts(line, "Private_Dirty:"))
            sum += strtoll(line + 14, NULL, 10);
    return sum;
}

struct large {
    const struct endpoint *from, *to;
    const struct descriptor *blob;
    int64_t most;
    _Atomic int64_t bytes;
    struct err err;
    int rc;
};

static void on_large(void *user, int64_t bytes)
{
    struct large *l = user;
    int64_t now = atomic_fetch_add(&l->bytes, bytes) + bytes;
    if (now % (int64_t)MIB(4) < bytes) {
        int64_t kib = private_kib();
        l->most = kib > l->most ? kib : l->most;
    }
}

static void *copy_large(void *user)
{
    struct large *l = user;
    struct blob_progress progress = {.moved = on_large, .user = l};
    enum blob_way way;
    l->rc = blob_copy(l->from, l->to, l->blob, false, &progress, &way, &l->err);
    return NULL;
}

/* Several at once, whole and in chunks, between two docker-registries; what is held in memory does
 * not grow with the blob. */
static void test_docker_registry(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct peer plain = {0}, guarded = {0};
    char dir[] = "/tmp/slipway-blob-XXXXXX";
    assert_non_null(mkdtemp(dir));
    peer_docker_registry(&plain, true, false);
    peer_docker_registry(&guarded, true, true);
    struct http_client *http = http_client_new(NULL, &err);
    struct registry_conf confs[] = {{.host = plain.host, .type = "auto", .plain_http = true},
                                    {.host = guarded.host,
                                     .username = "ci",
                                     .password = PASSWORD,
                                     .type = "auto",
                                     .plain_http = true}};
    struct registry_confs list = {.at = confs, .n = 2};
    struct registry *r = registry_new(http, &list, NULL);
    struct endpoint file = {.layout = layout_open(arena_printf(&a, "%s/l", dir), true, &err)};
    struct endpoint one = {.registry = r, .host = plain.host, .name = "team/large"};
    struct endpoint two = {.registry = r, .host = guarded.host, .name = "team/large"};
    struct descriptor blobs[3];
    enum blob_way way;
    for (size_t i = 0; i < 3; i++) {
        char *bytes CLEANUP(cleanup_free) = xmalloc(LARGE);
        memset(bytes, (int)i + 1, LARGE);
        char digest[CRYPT_DIGEST_TEXT];
        crypt_digest(bytes, LARGE, digest);
        blobs[i] = (struct descriptor){.digest = arena_strdup(&a, digest), .size = LARGE};
        assert_int_equal(layout_write(file.layout, digest, bytes, LARGE, &err), 0);
        if (blob_copy(&file, &one, &blobs[i], false, NULL, &way, &err) < 0)
            fail_msg("%s", err.text);
    }
    mem_trim();
    for (int chunked = 0; chunked < 2; chunked++) {
        confs[1].chunk = chunked ? MIB(3) : 0;
        two.name = chunked ? "team/chunked" : "team/whole";
        pthread_t threads[3];
        struct large large[3];
        int64_t before = private_kib(), most = 0;
        for (size_t i = 0; i < 3; i++) {
            large[i] = (struct large){.from = &one, .to = &two, .blob = &blobs[i]};
            assert_int_equal(pthread_create(&threads[i], NULL, copy_large, &large[i]), 0);
        }
        for (size_t i = 0; i < 3; i++) {
            (void)pthread_join(threads[i], NULL);
            if (large[i].rc < 0)
                fail_msg("%s", large[i].err.text);
            assert_int_equal(atomic_load(&large[i].bytes), (int64_t)LARGE);
            most = large[i].most > most ? large[i].most : most;
            bool there;
            assert_int_equal(blob_exists(&two, &blobs[i], &a, &there, &err), 0);
            assert_true(there);
        }
        print_message("%s: %lld KiB more than before\n", chunked ? "chunked" : "whole",
                      (long long)(most - before));
        if (MEASURED)
            assert_true(most - before < (chunked ? 24 : 10) * 1024);
    }
    struct endpoint mounted = {.registry = r, .host = guarded.host, .name = "team/mounted"};
    assert_int_equal(blob_copy(&two, &mounted, &blobs[0], true, NULL, &way, &err), 0);
    assert_int_equal(way, BLOB_MOUNTED);
    assert_int_equal(blob_put(&mounted, "{}", 2, blobs[0].digest, &err), -1);
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest("{}", 2, digest);
    assert_int_equal(blob_put(&mounted, "{}", 2, digest, &err), 0);
    layout_close(file.layout);
    registry_free(r);
    http_client_free(http);
    peer_stop(&plain);
    peer_stop(&guarded);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_absent),
        cmocka_unit_test(test_mounts),  cmocka_unit_test(test_put),
        cmocka_unit_test(test_layouts), cmocka_unit_test(test_docker_registry),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, fakes_start, fakes_stop);
}
