#include "cgi/progress.h"

#include "cgi/copy_print.h"
#include "core/base/str.h"
#include "core/os/clock.h"

#include <sys/ioctl.h>
#include <unistd.h>

enum { REDRAW_MS = 100, BARS = 16, BAR_WIDTH = 20, WIDTH_DEFAULT = 80 };

/* One image on its way; c is NULL in a free slot. */
struct bar {
    const struct copy *c;
    int64_t total;
    int64_t moved;
};

struct progress {
    FILE *out;
    bool quiet;
    bool bars;
    size_t images;
    size_t ended;
    struct bar bar[BARS]; /* more images than bars are only counted */
    size_t drawn;         /* lines that the cursor stands below */
    int64_t drawn_at;
    int64_t moved; /* bytes of all images */
    int64_t started;
    struct copy_watch watch;
};

/* ---- drawing --------------------------------------------------------------------------------- */

static size_t width_of(FILE *out)
{
    struct winsize size = {0};
    if (ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return WIDTH_DEFAULT;
    return size.ws_col;
}

static void erase(struct progress *p)
{
    for (; p->drawn; p->drawn--)
        (void)fputs("\033[1A\033[2K", p->out);
}

/* The end of a long name says more than its beginning. */
static const char *fitted(const char *name, size_t width, struct arena *a)
{
    size_t len = strlen(name);
    if (len <= width)
        return name;
    name += len - (width - 3);
    while (((unsigned char)*name & 0xc0) == 0x80)
        name++;
    return arena_printf(a, "...%s", name);
}

/* A line that the terminal broke would be two, and one of them would stay. */
static void say(struct progress *p, const char *line, size_t width)
{
    (void)fprintf(p->out, "%.*s\n", (int)width - 1, line);
    p->drawn++;
}

static void draw_bar(struct progress *p, const struct bar *b, size_t width, struct arena *a)
{
    char blocks[BAR_WIDTH + 1];
    int64_t full = b->total > 0 ? b->moved * BAR_WIDTH / b->total : 0;
    full = full < 0 ? 0 : full > BAR_WIDTH ? BAR_WIDTH : full;
    memset(blocks, '.', BAR_WIDTH);
    memset(blocks, '#', (size_t)full);
    blocks[BAR_WIDTH] = '\0';
    const char *sizes =
        b->total ? arena_printf(a, "%s / %s", bytes_text(b->moved, a), bytes_text(b->total, a))
                 : "looking";
    size_t rest = BAR_WIDTH + 2 + 26;
    const char *name = str_printable(a, copy_source(b->c, a));
    size_t room = width > rest + 8 ? width - rest - 1 : 8;
    say(p, arena_printf(a, "%-*s [%s] %s", (int)room, fitted(name, room, a), blocks, sizes), width);
}

static void draw(struct progress *p)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    size_t width = width_of(p->out);
    int64_t now = clock_monotonic_ms();
    erase(p);
    for (size_t i = 0; i < BARS; i++)
        if (p->bar[i].c)
            draw_bar(p, &p->bar[i], width, &a);
    int64_t ms = now - p->started;
    const char *of = p->images ? arena_printf(&a, " of %zu", p->images) : "";
    say(p,
        arena_printf(&a, "%zu%s done, %s, %s/s", p->ended, of, bytes_text(p->moved, &a),
                     bytes_text(ms > 0 ? p->moved * 1000 / ms : 0, &a)),
        width);
    p->drawn_at = now;
    (void)fflush(p->out);
}

static void redraw(struct progress *p)
{
    if (p->bars && clock_monotonic_ms() - p->drawn_at >= REDRAW_MS)
        draw(p);
}

/* ---- what copy_all tells, under its lock ----------------------------------------------------- */

static struct bar *bar_of(struct progress *p, const struct copy *c)
{
    for (size_t i = 0; i < BARS; i++)
        if (p->bar[i].c == c)
            return &p->bar[i];
    return NULL;
}

static void on_planned(void *user, const struct copy *c, int64_t bytes, size_t blobs)
{
    struct progress *p = user;
    struct bar *bar = bar_of(p, c);
    (void)blobs;
    if (!bar)
        bar = bar_of(p, NULL);
    if (bar)
        *bar = (struct bar){.c = c, .total = bytes, .moved = bar->c ? bar->moved : 0};
    redraw(p);
}

static void on_moved(void *user, const struct copy *c, int64_t bytes)
{
    struct progress *p = user;
    struct bar *bar = bar_of(p, c);
    if (bar)
        bar->moved += bytes;
    p->moved += bytes;
    redraw(p);
}

static void on_ended(void *user, const struct copy *c)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct progress *p = user;
    struct bar *bar = bar_of(p, c);
    if (bar)
        *bar = (struct bar){0};
    p->ended++;
    if (p->quiet)
        return;
    erase(p);
    (void)fprintf(p->out, "%s\n", copy_line(c, &a));
    for (size_t i = 0; i < c->notes.n; i++)
        (void)fprintf(p->out, "%14snote: %s\n", "", str_printable(&a, c->notes.at[i]));
    if (p->bars && (!p->images || p->ended < p->images))
        draw(p);
    (void)fflush(p->out);
}

struct progress *progress_new(FILE *out, size_t images, bool quiet)
{
    struct progress *p = xcalloc(1, sizeof *p);
    const char *term = getenv("TERM");
    *p = (struct progress){
        .out = out,
        .quiet = quiet,
        .bars = !quiet && isatty(fileno(out)) && !str_empty(term) && !str_eq(term, "dumb"),
        .images = images,
        .started = clock_monotonic_ms(),
        .watch = {.planned = on_planned, .moved = on_moved, .ended = on_ended, .user = p},
    };
    return p;
}

const struct copy_watch *progress_watch(struct progress *p)
{
    return &p->watch;
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    erase(p);
    (void)fflush(p->out);
    free(p);
}
