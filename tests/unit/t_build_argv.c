#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/build/build_argv.h"
#include "tests/unit/build_help.h"

static const struct build_place place = {
    .store = "/t/store",
    .run = "/t/run",
    .home = "/t/home",
    .auth_file = "/t/home/login/config.json",
    .registries_conf = "/t/home/registries.conf",
    .policy = "/t/home/policy.json",
    .isolation = "chroot",
    .driver = "vfs",
};

/* One word a line, so that blanks in a word show. */
static const char *lines(struct arena *a, const struct str_list *argv)
{
    const char *all = "";
    for (size_t i = 0; i < argv->n; i++)
        all = arena_printf(a, "%s%s\n", all, argv->at[i]);
    return all;
}

static struct build_image nasty_image(struct arena *a)
{
    return (struct build_image){
        .name = "app",
        .context = "c",
        .target = "last",
        .build_args = TEXTS(a, "A=--privileged", "B=two words", "C=\"quoted\" $(x) 'y'", "D="),
        .labels = TEXTS(a, "l=-v /:/host", "org.zuul-ci.change=7"),
        .siblings = TEXTS(a, "opendev.org/a/b", "example.org/c"),
        .refs = TEXTS(a, "r.example.org/team/app:1", "r.example.org/team/app:latest"),
    };
}

#define IMAGE_WORDS                                                                                \
    "--target=last\n--build-arg=A=--privileged\n--build-arg=B=two words\n"                         \
    "--build-arg=C=\"quoted\" $(x) 'y'\n--build-arg=D=\n"                                          \
    "--build-arg=ZUUL_SIBLINGS=.zuul-siblings/opendev.org/a/b .zuul-siblings/example.org/c\n"      \
    "--label=l=-v /:/host\n--label=org.zuul-ci.change=7\n"
#define STORE_WORDS "--root=/t/store\n--runroot=/t/run\n--storage-driver=vfs\n"
#define BUILDAH                                                                                    \
    "buildah\n" STORE_WORDS "--registries-conf=/t/home/registries.conf\n"                          \
    "--registries-conf-dir=/t/home/none\n"
#define PODMAN                                                                                     \
    "podman\n" STORE_WORDS "--tmpdir=/t/run/libpod\n--cgroup-manager=cgroupfs\n"                   \
    "--events-backend=none\n"
#define BUILD(format)                                                                              \
    "build\n--isolation=chroot\n--format=" format "\n--layers=false\n--pull=missing\n"             \
    "--identity-label=false\n--authfile=/t/home/login/config.json\n"                               \
    "--signature-policy=/t/home/policy.json\n"
#define REFS "--tag=r.example.org/team/app:1\n--tag=r.example.org/team/app:latest\n"
#define END "--\n/src/c\n"
#define PUSH(format, more)                                                                         \
    "push\n--format=" format "\n" more "--authfile=/t/home/login/config.json\n"                    \
    "--signature-policy=/t/home/policy.json\n--\n"

static void makes_commands(void **state)
{
    (void)state;
    static const struct {
        enum build_tool tool;
        enum build_format format;
        const char *platform;
        const char *build;
        const char *export;
    } cases[] = {
        {BUILD_BUILDAH, BUILD_OCI, NULL,
         BUILDAH BUILD("oci") "--tag=localhost/slipway/app:job\n" REFS
                              "--file=/src/c/-f\n" IMAGE_WORDS END,
         BUILDAH PUSH("oci", "") "localhost/slipway/app:job\ndir:/o/raw\n"},
        {BUILD_PODMAN, BUILD_DOCKER_FORMAT, "linux/arm64",
         PODMAN BUILD("docker") "--tag=localhost/slipway/app-linux-arm64:job\n" REFS
                                "--file=/src/c/-f\n" IMAGE_WORDS "--platform=linux/arm64\n" END,
         PODMAN PUSH("v2s2", "--compress\n") "localhost/slipway/app-linux-arm64:job\ndir:/o/raw\n"},
        {BUILD_DOCKER, BUILD_OCI, "linux/arm64",
         "docker\nbuildx\nbuild\n--output=type=oci,tar=false,oci-mediatypes=true,dest=/o/part\n"
         "--provenance=false\n--sbom=false\n--progress=plain\n--tag=r.example.org/team/app:1\n"
         "--file=/src/c/-f\n" IMAGE_WORDS "--platform=linux/arm64\n" END,
         ""},
        {BUILD_DOCKER, BUILD_DOCKER_FORMAT, NULL,
         "docker\nbuildx\nbuild\n--output=type=oci,tar=false,oci-mediatypes=false,dest=/o/part\n"
         "--provenance=false\n--sbom=false\n--progress=plain\n--tag=r.example.org/team/app:1\n"
         "--file=/src/c/-f\n" IMAGE_WORDS END,
         ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct build_image image = nasty_image(&a);
        struct build_spec spec = {.tool = cases[i].tool,
                                  .format = cases[i].format,
                                  .out = "/o",
                                  .images = {.at = &image, .n = 1}};
        struct str_list argv = build_argv(&spec, &place, &image, cases[i].platform, "/src/c",
                                          "/src/c/-f", "/o/part", &a);
        assert_string_equal(lines(&a, &argv), cases[i].build);
        argv = build_export_argv(&spec, &place, &image, cases[i].platform, "/o/raw", &a);
        assert_string_equal(lines(&a, &argv), cases[i].export);
    }
}

/* Nothing that a repository or a place left out shows as an empty flag. */
static void leaves_out_what_is_not_said(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct build_image image = {.name = "app", .context = "."};
    struct build_spec spec = {.tool = BUILD_BUILDAH, .out = "/o", .images = {.at = &image, .n = 1}};
    struct build_place anonymous = place;
    anonymous.auth_file = NULL;
    anonymous.wrap = TEXTS(&a, "unshare", "--pid", "--");
    struct str_list argv = build_argv(&spec, &anonymous, &image, NULL, "/src", NULL, "/o/part", &a);
    assert_string_equal(lines(&a, &argv),
                        "unshare\n--pid\n--\n" BUILDAH
                        "build\n--isolation=chroot\n--format=oci\n--layers=false\n--pull=missing\n"
                        "--identity-label=false\n--signature-policy=/t/home/policy.json\n"
                        "--tag=localhost/slipway/app:job\n--\n/src\n");
}

static void takes_former_images_up(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct build_image image = nasty_image(&a);
    struct build_spec spec = {.tool = BUILD_PODMAN, .out = "/o", .images = {.at = &image, .n = 1}};
    struct str_list argv = build_import_argv(&spec, &place, "former", &a);
    assert_string_equal(lines(&a, &argv),
                        PODMAN "pull\n--quiet\n--authfile=/t/home/login/config.json\n"
                               "--signature-policy=/t/home/policy.json\n--\noci:former\n");
    argv = build_tag_argv(&spec, &place, &image, NULL, "abc", &a);
    assert_string_equal(lines(&a, &argv),
                        PODMAN "tag\n--\nabc\nlocalhost/slipway/app:job\n"
                               "r.example.org/team/app:1\nr.example.org/team/app:latest\n");
    spec.tool = BUILD_DOCKER;
    assert_int_equal(build_import_argv(&spec, &place, "former", &a).n, 0);
    assert_int_equal(build_tag_argv(&spec, &place, &image, NULL, "abc", &a).n, 0);
}

/* buildx keeps no store of ours: layouts of earlier images take their names' place. */
static void gives_docker_the_earlier_layouts(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct build_image images[] = {
        {.name = "base",
         .refs = TEXTS(&a, "r.org/base:1", "r.org/base:2"),
         .platforms = TEXTS(&a, "linux/arm64")},
        {.name = "other", .refs = TEXTS(&a, "r.org/other:1")},
        {.name = "app", .platforms = TEXTS(&a, "linux/arm64")},
        {.name = "later",
         .refs = TEXTS(&a, "r.org/later:1"),
         .platforms = TEXTS(&a, "linux/arm64")},
    };
    struct build_spec spec = {
        .tool = BUILD_DOCKER, .out = "/o", .images = {.at = images, .n = ARRAY_LEN(images)}};
    struct str_list argv =
        build_argv(&spec, &place, &images[2], "linux/arm64", "/src", NULL, "/o/part", &a);
    const char *all = lines(&a, &argv);
    assert_non_null(strstr(all,
                           "--build-context=r.org/base:1=oci-layout:///o/base-linux-arm64:1\n"
                           "--build-context=r.org/base:2=oci-layout:///o/base-linux-arm64:1\n"));
    assert_null(strstr(all, "other"));
    assert_null(strstr(all, "later"));
}

/* What no layout and no image of docker's may carry, and what its words may not hold. */
static void keeps_docker_plain(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct build_image image = nasty_image(&a);
    struct build_spec spec = {.tool = BUILD_DOCKER,
                              .out = "/o",
                              .pull = "{\"auths\":{\"r.example.org\":{\"auth\":\"c2VjcmV0\"}}}",
                              .images = {.at = &image, .n = 1}};
    struct build_place wrapped = place;
    wrapped.auth_file = "/t/home/login/config.json";
    struct str_list argv = build_argv(&spec, &wrapped, &image, "linux/arm/v7", "/src/c",
                                      "/src/c/Dockerfile", "/o/part", &a);
    const char *all = lines(&a, &argv);
    static const char *const once[] = {
        "--provenance=false\n",
        "--sbom=false\n",
        "--output=type=oci,tar=false,oci-mediatypes=true,dest=/o/part\n",
        "--platform=linux/arm/v7\n",
        "--label=org.zuul-ci.change=7\n",
        "--label=l=-v /:/host\n",
        "--file=/src/c/Dockerfile\n",
        /* A second name would be a second root of the layout. */
        "--tag=",
    };
    for (size_t i = 0; i < ARRAY_LEN(once); i++) {
        const char *at = strstr(all, once[i]);
        if (!at || strstr(at + 1, once[i]))
            fail_msg("%s: not once in\n%s", once[i], all);
    }
    static const char *const never[] = {"c2VjcmV0", "auths",  "login",    "--secret", "--ssh",
                                        "--push",   "--load", "type=reg", "--allow",  "--authfile"};
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (strstr(all, never[i]))
            fail_msg("%s is in\n%s", never[i], all);
    /* Behind the end of the flags is the context, and nothing else. */
    assert_string_equal(argv.at[argv.n - 2], "--");
    assert_string_equal(argv.at[argv.n - 1], "/src/c");
    /* The credentials are in a file below DOCKER_CONFIG, whose name is all that shows. */
    const char *const *env;
    assert_int_equal(build_environment(&spec, &wrapped, &a, &env, &err), 0);
    struct str_list list = texts(&a, env);
    assert_non_null(strstr(lines(&a, &list), "DOCKER_CONFIG=/t/home/login\n"));
    assert_null(strstr(lines(&a, &list), "c2VjcmV0"));
}

static void makes_a_clean_environment(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct build_spec spec = {0};
    const char *const *env;
    *list_push(&a, &spec.env) = (struct build_env){"DOCKER_BUILDKIT", "1"};
    *list_push(&a, &spec.env) = (struct build_env){"MY_FLAG", "a b=c"};
    assert_int_equal(setenv("SLIPWAY_SECRET_OF_OURS", "x", 1), 0);
    assert_int_equal(build_environment(&spec, &place, &a, &env, &err), 0);
    struct str_list list = texts(&a, env);
    assert_string_equal(
        lines(&a, &list),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOME=/t/home\n"
        "LANG=C.UTF-8\nTMPDIR=/t/home/tmp\nXDG_RUNTIME_DIR=/t/home/run\n"
        "XDG_CONFIG_HOME=/t/home/config\nXDG_DATA_HOME=/t/home/data\n"
        "XDG_CACHE_HOME=/t/home/cache\nCONTAINERS_REGISTRIES_CONF=/t/home/registries.conf\n"
        "CONTAINERS_CONF=/t/home/containers.conf\nCONTAINERS_STORAGE_CONF=/t/home/storage.conf\n"
        "DOCKER_CONFIG=/t/home/login\nDOCKER_BUILDKIT=1\nMY_FLAG=a b=c\n");
    static const char *const closed[] = {
        "PATH",
        "HOME",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
        "REGISTRY_AUTH_FILE",
        "ANY_AUTH_FILE",
        "CONTAINERS_CONF",
        "CONTAINER_HOST",
        "_CONTAINERS_USERNS_CONFIGURED",
        "STORAGE_DRIVER",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "BUILDAH_RUNTIME",
        "BUILDAH_ISOLATION",
        "BUILDX_BUILDER",
        "https_proxy",
        "HTTPS_PROXY",
        "SSL_CERT_FILE",
        "LANG",
        "GODEBUG",
    };
    for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
        spec.env.at[0].name = closed[i];
        if (build_environment(&spec, &place, &a, &env, &err) == 0)
            fail_msg("%s was taken", closed[i]);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_non_null(strstr(err.text, closed[i]));
    }
}

static void advises(void **state)
{
    (void)state;
    static const struct {
        const char *log;
        const char *platform;
        enum err_kind kind;
        const char *advice; /* a part; NULL: none */
    } cases[] = {
        {"error setting supplemental groups list: operation not permittedsubprocess exited with "
         "status 1\nError: building at STEP \"RUN x\": exit status 1\n",
         NULL, ERR_CONFIG, "/etc/subuid"},
        {"potentially insufficient UIDs or GIDs available in user namespace", NULL, ERR_CONFIG,
         "subordinate ids"},
        {"exec container process `/x`: Exec format error\n", "linux/arm64", ERR_CONFIG,
         "qemu-user-static"},
        {"exec /x: exec format error\n", NULL, ERR_CONFIG, "another processor"},
        {"Close_Fd sealing memfd copy: Device or resource busy\nError: building at STEP \"RUN x\": "
         "exit status 1\n",
         NULL, ERR_TEMP, "copy of itself"},
        {"write /x: no space left on device\n", NULL, ERR_TEMP, "disk is full"},
        {"Error: creating build container: initializing source docker://h/a:1: reading manifest 1 "
         "in h/a: unauthorized: authentication required\n",
         NULL, ERR_PERM, "build_pull"},
        {"Error: initializing source docker://h/a:1: reading manifest 1 in h/a: manifest unknown\n",
         NULL, ERR_PERM, "not there"},
        {"Error: initializing source docker://h/a:1: pinging container registry h: dial tcp: no "
         "route to host\n",
         NULL, ERR_TEMP, "could not be asked"},
        {"Error: initializing source docker://h/a:1: http: server gave HTTP response to HTTPS "
         "client\n",
         NULL, ERR_CONFIG, "plain_http"},
        {"docker: unknown command: docker buildx\n\nRun 'docker --help' for more\n", NULL,
         ERR_CONFIG, "plugin buildx"},
        {"docker: 'buildx' is not a docker command.\n", NULL, ERR_CONFIG, "plugin buildx"},
        {"ERROR: OCI exporter is not supported for the docker driver.\n", NULL, ERR_CONFIG,
         "docker-container"},
        {"ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker "
         "daemon running?\n",
         NULL, ERR_CONFIG, "daemon does not run"},
        /* A step's own trouble with the network is not the base image's. */
        {"curl: connection refused\nError: building at STEP \"RUN curl\": exit status 7\n", NULL,
         ERR_PERM, NULL},
        {"exec: \"/bin/sh\": stat /bin/sh: no such file or directory\n", NULL, ERR_PERM,
         "no shell"},
        /* Needles of one row in two lines are none. */
        {"newuidmap\nit was denied\n", NULL, ERR_PERM, NULL},
        {"", NULL, ERR_PERM, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum err_kind kind = ERR_NONE;
        const char *advice = build_advice(cases[i].log, cases[i].platform, &kind);
        if (!advice != !cases[i].advice || (advice && !strstr(advice, cases[i].advice)))
            fail_msg("%s: %s", cases[i].log, advice ? advice : "nothing");
        assert_int_equal(kind, cases[i].kind);
        assert_ptr_equal(build_advice(cases[i].log, cases[i].platform, NULL), advice);
    }
}

static void finds_the_last_words(void **state)
{
    (void)state;
    static const struct {
        const char *log;
        const char *words;
    } cases[] = {
        {"", ""},
        {"\n \t\n\r\n", ""},
        {"one\ntwo\n\n", "two"},
        {"no newline", "no newline"},
        {"STEP 1\nmake: it broke\nsubprocess exited with status 2\nError: building at STEP \"RUN "
         "make\": exit status 2\n",
         "make: it broke; Error: building at STEP \"RUN make\": exit status 2"},
        {"Error: no such stage\nshort-lived: cleaning up\n", "Error: no such stage"},
        {"error: first\nok\nerror: second\n", "error: second"},
        {"Error: exit status 1\n", "Error: exit status 1"},
        {"bad \x1b[31mred\x1b[0m\n", "bad ?[31mred?[0m"},
        {"progress 10%\rprogress 20%\r", "progress 20%"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        assert_string_equal(build_last_words(cases[i].log, &a), cases[i].words);
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    char longest[4096];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_in_range(strlen(build_last_words(longest, &a)), 100, 400);
}

static void finds_healthchecks(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        bool has;
    } cases[] = {
        {"FROM x\nHEALTHCHECK CMD true\n", true},
        {"FROM x\n  healthcheck\tCMD true", true},
        {"from x\r\nHEALTHCHECK --interval=5m CMD true\r\n", true},
        {"FROM x\nHEALTHCHECK \\\n  CMD true\n", true},
        {"FROM x\nRUN a \\\n  # note\n  && b\nHEALTHCHECK CMD true\n", true},
        {"# escape=`\nFROM x\nRUN a `\n b\nHEALTHCHECK CMD true\n", true},
        {"FROM x\nHEALTHCHECK NONE\n", false},
        {"FROM x\nRUN echo HEALTHCHECK CMD\n", false},
        {"FROM x\nRUN echo \\\nHEALTHCHECK CMD\n", false},
        {"FROM x\n# HEALTHCHECK CMD true\n", false},
        {"FROM x\nHEALTHCHECKS CMD true\n", false},
        {"FROM x\nRUN a \\", false},
        {"", false},
        {"\\", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (build_has_healthcheck(cases[i].file, strlen(cases[i].file)) != cases[i].has)
            fail_msg("%s", cases[i].file);
    assert_false(build_has_healthcheck("HEALTHCHECK CMD", 0));
    assert_false(build_has_healthcheck("HEALTHCHECK CMD", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_commands),
        cmocka_unit_test(leaves_out_what_is_not_said),
        cmocka_unit_test(takes_former_images_up),
        cmocka_unit_test(gives_docker_the_earlier_layouts),
        cmocka_unit_test(keeps_docker_plain),
        cmocka_unit_test(makes_a_clean_environment),
        cmocka_unit_test(advises),
        cmocka_unit_test(finds_the_last_words),
        cmocka_unit_test(finds_healthchecks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
