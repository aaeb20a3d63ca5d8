#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/forge/forge.h"
#include "core/forge/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* GitHub's documented example. */
#define HUB_SECRET "It's a Secret to Everybody"
#define HUB_BODY "Hello, World!"
#define HUB_HEX "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
#define HUB_HEADER "X-Hub-Signature-256"

/* The Standard Webhooks example. */
#define STD_SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define STD_ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define STD_TIME 1614265330
#define STD_STAMP "1614265330"
#define STD_BODY "{\"test\": 2432232314}"
#define STD_V1 "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

#define TOKEN "a-long-random-token-0123456789"

/* One request and one source, built anew for each case. */
struct bed {
    struct arena arena;
    struct forge_conf conf;
    struct http_req req;
    const char *path_rest;
    int64_t now_s;
    size_t refused; /* counts cases */
};

static void bed_reset(struct bed *b, const char *type, const char *body, const char *secret)
{
    size_t refused = b->refused;
    arena_release(&b->arena);
    *b = (struct bed){.conf = {.name = "src", .type = type, .url = "https://forge.example.org"},
                      .req = {.method = "POST", .url = "/hooks/src", .query = ""},
                      .path_rest = "",
                      .now_s = STD_TIME,
                      .refused = refused};
    b->req.body = body;
    b->req.body_len = strlen(body);
    if (secret)
        *list_push(&b->arena, &b->conf.hook_secrets) = secret;
}

static void bed_release(struct bed *b)
{
    arena_release(&b->arena);
}

static void bed_header(struct bed *b, const char *name, const char *value)
{
    http_header_add(&b->arena, &b->req.headers, name, value);
}

static bool verified(struct bed *b)
{
    const struct forge *forge = forge_find(b->conf.type);
    assert_non_null(forge);
    return forge->verify(&b->conf, &b->req, b->path_rest, b->now_s);
}

static void must_pass(struct bed *b, const char *what)
{
    if (!verified(b))
        fail_msg("refused: %s", what);
}

static void must_fail(struct bed *b, const char *what)
{
    if (verified(b))
        fail_msg("ACCEPTED: %s", what);
    b->refused++;
}

/* ---- GitHub ---- */

static void hub(struct bed *b, const char *value)
{
    bed_reset(b, "github", HUB_BODY, HUB_SECRET);
    if (value)
        bed_header(b, HUB_HEADER, value);
}

static void github_good(void **state)
{
    (void)state;
    struct bed b CLEANUP(bed_release) = {0};
    hub(&b, "sha256=" HUB_HEX);
    must_pass(&b, "the documented example");
    hub(&b, "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17");
    must_pass(&b, "upper-case digits");
    bed_reset(&b, "github", HUB_BODY, "the old secret");
    *list_push(&b.arena, &b.conf.hook_secrets) = HUB_SECRET;
    *list_push(&b.arena, &b.conf.hook_secrets) = "the next secret";
    bed_header(&b, "x-hub-signature-256", "sha256=" HUB_HEX);
    must_pass(&b, "any active secret, any case of the header's name");
    hub(&b, "sha256=" HUB_HEX);
    bed_header(&b, "Content-Type", "application/x-www-form-urlencoded");
    must_pass(&b, "a form is signed as it is sent");
}

static void github_every_mutation(struct bed *b)
{
    char text[128];
    static const char good[] = "sha256=" HUB_HEX;
    for (size_t len = 0; len < sizeof good - 1; len++) {
        (void)snprintf(text, sizeof text, "%.*s", (int)len, good);
        hub(b, text);
        must_fail(b, text);
    }
    for (size_t i = 0; i < sizeof good - 1; i++) {
        (void)snprintf(text, sizeof text, "%s", good);
        text[i] = text[i] == '0' ? '1' : '0';
        hub(b, text);
        must_fail(b, text);
    }
    for (size_t i = 7; i < sizeof good - 1; i++) {
        (void)snprintf(text, sizeof text, "%s", good);
        text[i] = 'g';
        hub(b, text);
        must_fail(b, text);
    }
    for (size_t i = 0; i < sizeof HUB_BODY - 1; i++) {
        hub(b, good);
        char *body = arena_strdup(&b->arena, HUB_BODY);
        body[i] ^= 1;
        b->req.body = body;
        must_fail(b, "a changed body");
        b->req.body = HUB_BODY;
        b->req.body_len = i;
        must_fail(b, "a cut body");
    }
}

static void github_odd_values(struct bed *b)
{
    static const char *const values[] = {
        "",
        "sha256=",
        " sha256=" HUB_HEX,
        "sha256= " HUB_HEX,
        "sha256=" HUB_HEX " ",
        "sha256=" HUB_HEX "0",
        "sha256=" HUB_HEX HUB_HEX,
        "sha256=" HUB_HEX ",sha256=" HUB_HEX,
        "SHA256=" HUB_HEX,
        "sha1=" HUB_HEX,
        "sha256:" HUB_HEX,
        HUB_HEX,
        "sha256=0x" HUB_HEX,
        /* HMAC-SHA1 of the same body, under the wrong label. */
        "sha256=01dc10d0c83e72ed246219cdd91669667fe2ca59",
        "sha256=0000000000000000000000000000000000000000000000000000000000000000",
        /* of the same body under an empty key */
        "sha256=2bbcfa9524f3218c7a34b30e6936f8b1a4516cb097f1a85a1c7d98b5977ec769",
    };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        hub(b, values[i]);
        must_fail(b, values[i]);
    }
    hub(b, NULL);
    must_fail(b, "no header");
    hub(b, NULL);
    bed_header(b, "X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59");
    must_fail(b, "the SHA-1 header alone");
    hub(b, NULL);
    bed_header(b, "X-Hub-Signature", "sha256=" HUB_HEX);
    must_fail(b, "the right text in the wrong header");
    hub(b, "sha256=" HUB_HEX);
    b->path_rest = "more";
    must_fail(b, "a longer path");
}

static void github_secrets(struct bed *b)
{
    static const char *const secrets[] = {
        NULL, "", HUB_SECRET "x", "it's a Secret to Everybody", " " HUB_SECRET, "sha256=" HUB_HEX};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        bed_reset(b, "github", HUB_BODY, secrets[i]);
        bed_header(b, HUB_HEADER, "sha256=" HUB_HEX);
        must_fail(b, "another secret, an empty one, or none");
    }
    /* What a sender without a secret would show: the MAC under the empty key. */
    const struct forge *forge = forge_find("github");
    bed_reset(b, "github", HUB_BODY, "");
    bed_header(b, HUB_HEADER,
               "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    b->req.body = "";
    b->req.body_len = 0;
    must_fail(b, "the MAC of nothing under an empty secret");
    struct err err = ERR_INIT;
    struct http_req out;
    assert_int_equal(forge->sample(&b->conf, NULL, STD_TIME, &b->arena, &out, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
}

static void github_bad(void **state)
{
    (void)state;
    struct bed b CLEANUP(bed_release) = {0};
    github_every_mutation(&b);
    github_odd_values(&b);
    github_secrets(&b);
    assert_true(b.refused >= 200);
}

/* ---- Standard Webhooks ---- */

static const char *const all_types[] = {"git", "github", "gerrit"};

static void standard(struct bed *b, const char *type, const char *id, const char *stamp,
                     const char *signature)
{
    bed_reset(b, type, STD_BODY, STD_SECRET);
    if (id)
        bed_header(b, "webhook-id", id);
    if (stamp)
        bed_header(b, "webhook-timestamp", stamp);
    if (signature)
        bed_header(b, "webhook-signature", signature);
}

static void standard_good(void **state)
{
    (void)state;
    struct bed b CLEANUP(bed_release) = {0};
    static const char *const lists[] = {
        STD_V1,
        "v1,bm9uZQ== " STD_V1,
        STD_V1 " v1,bm9uZQ==",
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/"
        "enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== " STD_V1,
        "  " STD_V1 "  ",
    };
    for (size_t t = 0; t < ARRAY_LEN(all_types); t++) {
        for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
            standard(&b, all_types[t], STD_ID, STD_STAMP, lists[i]);
            must_pass(&b, lists[i]);
        }
        for (int64_t skew = -LIMIT_WEBHOOK_SKEW_S; skew <= LIMIT_WEBHOOK_SKEW_S; skew += 100) {
            standard(&b, all_types[t], STD_ID, STD_STAMP, STD_V1);
            b.now_s = STD_TIME + skew;
            must_pass(&b, "within the window");
        }
    }
    bed_reset(&b, "git", STD_BODY, "whsec_bm9uZW5vbmVub25lbm9uZW5vbmVub25l");
    *list_push(&b.arena, &b.conf.hook_secrets) = STD_SECRET;
    bed_header(&b, "Svix-Id", STD_ID);
    bed_header(&b, "Svix-Timestamp", STD_STAMP);
    bed_header(&b, "Svix-Signature", STD_V1);
    must_pass(&b, "Svix's names, and the second of two secrets");
}

static void standard_mutations(struct bed *b, const char *type)
{
    static const char good[] = STD_V1;
    char text[160];
    for (size_t len = 0; len < sizeof good - 1; len++) {
        (void)snprintf(text, sizeof text, "%.*s", (int)len, good);
        standard(b, type, STD_ID, STD_STAMP, text);
        must_fail(b, text);
    }
    for (size_t i = 0; i < sizeof good - 1; i++) {
        (void)snprintf(text, sizeof text, "%s", good);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        standard(b, type, STD_ID, STD_STAMP, text);
        must_fail(b, text);
    }
    for (size_t i = 0; i < sizeof STD_BODY - 1; i++) {
        standard(b, type, STD_ID, STD_STAMP, STD_V1);
        char *body = arena_strdup(&b->arena, STD_BODY);
        body[i] ^= 1;
        b->req.body = body;
        must_fail(b, "a changed body");
    }
}

static void standard_odd_values(struct bed *b, const char *type)
{
    static const struct {
        const char *id, *stamp, *signature;
    } cases[] = {
        {NULL, STD_STAMP, STD_V1},
        {STD_ID, NULL, STD_V1},
        {STD_ID, STD_STAMP, NULL},
        {"", STD_STAMP, STD_V1},
        {STD_ID, "", STD_V1},
        {STD_ID, STD_STAMP, ""},
        {STD_ID "x", STD_STAMP, STD_V1},
        {"msg.1", STD_STAMP, STD_V1},
        {"msg 1", STD_STAMP, STD_V1},
        {"msg\"", STD_STAMP, STD_V1},
        {STD_ID, "1614265331", STD_V1},
        {STD_ID, "01614265330", STD_V1},
        {STD_ID, "+1614265330", STD_V1},
        {STD_ID, " 1614265330", STD_V1},
        {STD_ID, "1614265330.0", STD_V1},
        {STD_ID, "-1614265330", STD_V1},
        {STD_ID, "9999999999999999", STD_V1},
        {STD_ID, "18446744073709551615", STD_V1},
        {STD_ID, "NaN", STD_V1},
        {STD_ID, STD_STAMP, "v1," STD_V1},
        {STD_ID, STD_STAMP, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {STD_ID, STD_STAMP, "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {STD_ID, STD_STAMP, "V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {STD_ID, STD_STAMP, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {STD_ID, STD_STAMP, "v1=g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {STD_ID, STD_STAMP, STD_V1 "="},
        {STD_ID, STD_STAMP, STD_V1 "," STD_V1},
        {STD_ID, STD_STAMP, "v1,g0hM9SsE-OTPJTGt_tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        /* the same 32 bytes with other bits behind them */
        {STD_ID, STD_STAMP, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF="},
        {STD_ID, STD_STAMP, "v1, v1 , v1,=== "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        standard(b, type, cases[i].id, cases[i].stamp, cases[i].signature);
        must_fail(b, arena_printf(&b->arena, "%s: case %zu", type, i));
    }
    static const int64_t late[] = {
        LIMIT_WEBHOOK_SKEW_S + 1, -LIMIT_WEBHOOK_SKEW_S - 1, 86400, -86400, -STD_TIME,
        INT64_MAX - STD_TIME};
    for (size_t i = 0; i < ARRAY_LEN(late); i++) {
        standard(b, type, STD_ID, STD_STAMP, STD_V1);
        b->now_s = STD_TIME + late[i];
        must_fail(b, "out of the window");
    }
}

static void standard_secrets(struct bed *b, const char *type)
{
    static const char *const secrets[] = {
        NULL,
        "",
        "whsec_",
        "whsec_!!!",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa",
        "short",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    };
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        standard(b, type, STD_ID, STD_STAMP, STD_V1);
        b->conf.hook_secrets = (struct str_list){0};
        if (secrets[i])
            *list_push(&b->arena, &b->conf.hook_secrets) = secrets[i];
        must_fail(b, "another secret, an unfit one, or none");
    }
}

static void standard_bad(void **state)
{
    (void)state;
    struct bed b CLEANUP(bed_release) = {0};
    for (size_t t = 0; t < ARRAY_LEN(all_types); t++) {
        standard_mutations(&b, all_types[t]);
        standard_odd_values(&b, all_types[t]);
        standard_secrets(&b, all_types[t]);
    }
    /* Names of two families don't add up. */
    bed_reset(&b, "git", STD_BODY, STD_SECRET);
    bed_header(&b, "webhook-id", STD_ID);
    bed_header(&b, "svix-timestamp", STD_STAMP);
    bed_header(&b, "svix-signature", STD_V1);
    must_fail(&b, "mixed families");
    /* A list longer than the limit is not read to its end. */
    char list[64 * LIMIT_SIGNATURES] = "";
    size_t len = 0;
    for (int i = 0; i < LIMIT_SIGNATURES; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "v1,x ");
    (void)snprintf(list + len, sizeof list - len, "%s", STD_V1);
    standard(&b, "git", STD_ID, STD_STAMP, list);
    must_fail(&b, "too many signatures");
    standard(&b, "git", STD_ID, STD_STAMP, STD_V1);
    b.path_rest = "more";
    must_fail(&b, "a longer path");
    assert_true(b.refused >= 300);
}

/* Well signed, and yet refused: keys of a wrong length, ids that could shift the signed text. */
static void standard_limits(void **state)
{
    (void)state;
    static const struct {
        const char *secret, *v1;
        bool ok;
    } keys[] = {
        {"whsec_AA==", "v1,woH/1mJtZGSMCmpFTxRYbStS24eLLD/oXIYr4PYyZ7g=", false},
        {"whsec_AAECAwQFBgcICQoLDA0ODw==", "v1,YA6MmMhwztQQnjVT5s7VnIJrrIpIRYrxFLdJ8TxT/KM=",
         false},
        {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=",
         "v1,ILwqI8hTvsLIuswCbD6oFI1AZOlwZkq1VNUxw+jAGr4=", false},
        {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
         "v1,/485aUtxlie+TIScVpHggMfqOB4so2KWb7+Gf727B44=", true},
        {"whsec_"
         "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==",
         "v1,LZ5zuwHTqQH3VM8ERUusjzVQq1FXzemvpR8Mk7Ivp5c=", true},
        {"whsec_"
         "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=",
         "v1,eg6VwaYKnFRfdhEvkdzN3ViQ9COUbSjWEL9PkYr+P4k=", false},
        {"sixteen letters!", "v1,OvNNIv5sripwVbt+tIB1IHXP9C7So+52fHbr4dwoDCM=", true},
        {"fifteen letters", "v1,Gb60LBtK6bz1126hcj/20PS217dmV74WHYD/ekboNF8=", false},
    };
    static const struct {
        const char *id;
        bool ok;
    } ids[] = {{"msg_1", true},     {"a-b:c=d+e@f/g~h", true}, {"msg.1", false},
               {"1.2.{", false},    {"msg 1", false},          {"", false},
               {"m\xc3\xa4", false}};
    struct bed b CLEANUP(bed_release) = {0};
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        standard(&b, "git", STD_ID, STD_STAMP, keys[i].v1);
        b.conf.hook_secrets.at[0] = keys[i].secret;
        if (verified(&b) != keys[i].ok)
            fail_msg("key %zu should be %s", i, keys[i].ok ? "fine" : "refused");
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        standard(&b, "git", NULL, NULL, NULL);
        assert_int_equal(signature_standard_add(&b.req.headers, STD_SECRET, ids[i].id, STD_TIME,
                                                STD_BODY, strlen(STD_BODY), &b.arena, &err),
                         0);
        if (verified(&b) != ids[i].ok)
            fail_msg("id \"%s\" should be %s", ids[i].id, ids[i].ok ? "fine" : "refused");
    }
    standard(&b, "git", NULL, NULL, NULL);
    char *id = arena_alloc(&b.arena, LIMIT_WEBHOOK_ID + 2);
    memset(id, 'a', LIMIT_WEBHOOK_ID + 1);
    assert_int_equal(signature_standard_add(&b.req.headers, STD_SECRET, id, STD_TIME, STD_BODY,
                                            strlen(STD_BODY), &b.arena, &err),
                     0);
    must_fail(&b, "a long id");
    char *body = arena_alloc(&b.arena, LIMIT_STANDARD_BODY + 2);
    memset(body, ' ', LIMIT_STANDARD_BODY + 1);
    for (size_t over = 0; over <= 1; over++) {
        b.req.headers = (struct http_headers){0};
        b.req.body = body;
        b.req.body_len = LIMIT_STANDARD_BODY + over;
        assert_int_equal(signature_standard_add(&b.req.headers, STD_SECRET, STD_ID, STD_TIME, body,
                                                b.req.body_len, &b.arena, &err),
                         0);
        assert_int_equal(verified(&b), !over);
    }
}

/* With a Standard Webhooks id the body is read in our own form, so no other proof may do. */
static void proofs_do_not_mix(void **state)
{
    (void)state;
    struct bed b CLEANUP(bed_release) = {0};
    hub(&b, "sha256=" HUB_HEX);
    bed_header(&b, "webhook-id", "anything");
    must_fail(&b, "GitHub's proof for a body that would be read in our form");
    hub(&b, "sha256=" HUB_HEX);
    bed_header(&b, "svix-id", "");
    must_fail(&b, "the same with an empty id");
    bed_reset(&b, "gerrit", STD_BODY, TOKEN);
    b.path_rest = TOKEN;
    must_pass(&b, "Gerrit's token");
    bed_header(&b, "webhook-id", "anything");
    must_fail(&b, "Gerrit's token for a body that would be read in our form");
    bed_reset(&b, "git", HUB_BODY, HUB_SECRET);
    bed_header(&b, HUB_HEADER, "sha256=" HUB_HEX);
    must_fail(&b, "GitHub's proof at a generic source");
    bed_reset(&b, "git", STD_BODY, TOKEN);
    b.path_rest = TOKEN;
    must_fail(&b, "Gerrit's token at a generic source");
    bed_reset(&b, "github", STD_BODY, TOKEN);
    b.req.query = "secret=" TOKEN;
    must_fail(&b, "Gerrit's token at a GitHub source");
}

/* ---- Gerrit ---- */

struct token_case {
    const char *secret, *path, *query;
    bool ok;
};

static void gerrit_tokens(void **state)
{
    (void)state;
    static const struct token_case cases[] = {
        {TOKEN, TOKEN, "", true},
        {TOKEN, "", "secret=" TOKEN, true},
        {TOKEN, "", "token=" TOKEN, true},
        {TOKEN, "", "a=b&token=" TOKEN "&c=d", true},
        {"a long secret & more", "", "secret=a+long%20secret+%26+more", true},
        {TOKEN, "", "", false},
        {TOKEN, "", "secret=", false},
        {TOKEN, "", "secret", false},
        {TOKEN, "", "Secret=" TOKEN, false},
        {TOKEN, "", "xsecret=" TOKEN, false},
        {TOKEN, TOKEN "/", "", false},
        {TOKEN, "/" TOKEN, "", false},
        {TOKEN, TOKEN "x", "", false},
        {TOKEN, "x" TOKEN, "", false},
        {TOKEN, "A-long-random-token-0123456789", "", false},
        {TOKEN, "wrong-token-0123456789", "secret=wrong", false},
        {"0123456789abcdef", "0123456789abcdef", "", true},
        {"0123456789abcde", "0123456789abcde", "", false},
        {"short", "short", "secret=short", false},
        {"", "", "", false},
        {"", "", "secret=", false},
        {NULL, "", "", false},
        {NULL, TOKEN, "secret=" TOKEN, false},
    };
    struct bed b CLEANUP(bed_release) = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bed_reset(&b, "gerrit", "{}", cases[i].secret);
        b.path_rest = cases[i].path;
        b.req.query = cases[i].query;
        if (verified(&b) != cases[i].ok)
            fail_msg("case %zu should be %s", i, cases[i].ok ? "fine" : "refused");
    }
    for (size_t len = 0; len < sizeof TOKEN - 1; len++) {
        bed_reset(&b, "gerrit", "{}", TOKEN);
        b.path_rest = arena_strndup(&b.arena, TOKEN, len);
        must_fail(&b, "the beginning of a token");
        b.path_rest = TOKEN + 1 + len;
        must_fail(&b, "the end of a token");
    }
    bed_reset(&b, "gerrit", "{}", "the-old-token-0123456789");
    *list_push(&b.arena, &b.conf.hook_secrets) = TOKEN;
    b.path_rest = TOKEN;
    must_pass(&b, "the second of two tokens");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(github_good),     cmocka_unit_test(github_bad),
        cmocka_unit_test(standard_good),   cmocka_unit_test(standard_bad),
        cmocka_unit_test(standard_limits), cmocka_unit_test(proofs_do_not_mix),
        cmocka_unit_test(gerrit_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
