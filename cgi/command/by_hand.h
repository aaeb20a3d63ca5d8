/*
 * by_hand.h - what commands that talk to registries without the service share: the client with the
 * configuration's registries where there is one, and for other hosts that somebody named on the
 * command line the user's own credentials (auth.json, config.json, helpers).
 */
#ifndef SLIPWAY_BY_HAND_H
#define SLIPWAY_BY_HAND_H

#include "cgi/command.h"
#include "config/settings.h"
#include "core/domain/imageref.h"
#include "core/registry/blob.h"

#define BY_HAND_UNFENCED                                                                           \
    "Unfenced: this is done beside the service, so that neither waits for the other. Where a\n"    \
    "promotion writes the same tag at the same time, the later one stays.\n"                       \
    "\n"

/* Flags of all these commands; bind them with BY_HAND_FLAGS. */
struct by_hand_flags {
    const char *config;
    const char *auth_file;
    const char *ca_file;
    const char *proxy;
    struct flag_values plain_http; /* hosts */
    struct flag_values realms;     /* origins of token services elsewhere */
};

#define BY_HAND_FLAGS(f)                                                                           \
    {"config", 'c', FLAG_STR, &(f).config}, {"auth-file", 0, FLAG_STR, &(f).auth_file},            \
        {"ca-file", 0, FLAG_STR, &(f).ca_file}, {"proxy", 0, FLAG_STR, &(f).proxy},                \
        {"realm", 0, FLAG_LIST, &(f).realms},                                                      \
    {                                                                                              \
        "plain-http", 0, FLAG_LIST, &(f).plain_http                                                \
    }

#define BY_HAND_HELP                                                                               \
    "  -c, --config FILE        registries and credentials of this configuration; default:\n"      \
    "                           $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml if it can be\n"    \
    "                           read\n"                                                            \
    "      --auth-file FILE     an auth.json or config.json, for hosts that the configuration\n"   \
    "                           does not name; default: the user's own\n"                          \
    "      --ca-file FILE       authority of such hosts; also certs.d folders are looked at\n"     \
    "      --proxy URL          for such hosts\n"                                                  \
    "      --realm ORIGIN       for such hosts: the token service at https://... may see the\n"    \
    "                           credentials; may be repeated\n"                                    \
    "      --plain-http HOST    http instead of https for this host; may be repeated\n"

struct by_hand {
    struct http_client *http;
    struct credentials *credentials;
    struct registry *registry;
    struct registry_confs confs;
    const struct settings *settings; /* NULL: there is no configuration */
};

/* Everything lives until by_hand_release; strings in the arena. `hosts` are those that the command
 * line names. On failure what is wrong has been said on stderr and all is released; returns the
 * exit code, EXIT_DONE when it went well. */
int by_hand_setup(struct by_hand *b, const struct by_hand_flags *flags,
                  const struct str_list *hosts, struct arena *a);
void by_hand_release(struct by_hand *b);

/* Prints the failure, with the flag that mends it where there is one; returns the exit code. */
int by_hand_failed(const struct err *err);

/* Says on stderr that nothing waits for the service, where this machine's configuration has one. */
void by_hand_say_unfenced(const struct by_hand *b, const struct command *cmd);

/* A layout has to be there, is made where it is not, or is taken as if it were (dry runs). */
enum by_hand_layout { BY_HAND_READ, BY_HAND_MAKE, BY_HAND_SUPPOSE };

/* The endpoint of a place; a layout is opened, and closed by by_hand_close. */
int by_hand_endpoint(const struct by_hand *b, const struct imageref_place *place,
                     enum by_hand_layout how, struct endpoint *out, struct err *err);
void by_hand_close(struct endpoint *e);

#endif
