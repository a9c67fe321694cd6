/* Waiting for a long operation on blobs. */
#include "transfer.h"

static const uint64_t TICK_NS = KITH_NS_PER_S / 10;
static const uint64_t JSON_NS = KITH_NS_PER_S / 2;

enum { NAME_SHOWN_MAX = 40 };

static const char *const phases[] = { "checking", "sizes", "receiving", "storing", "hashing", "done" };

struct transfer {
    struct cli *cli;
    struct kith_op *op;
    struct loop_timer tick;
    struct output_progress line;
    uint8_t phase;
    uint64_t json_ns;
};

static void draw(void *user)
{
    struct transfer *transfer = user;
    struct kith_blobs_progress now;
    uint64_t time = loop_now();
    char name[sizeof now.name], brief[NAME_SHOWN_MAX + 1], what[NAME_SHOWN_MAX + 32];

    loop_timer_set(&transfer->cli->loop, &transfer->tick, TICK_NS);
    if (kith_blobs_progress(transfer->op, &now) != 0 || now.phase > KITH_BLOBS_PHASE_DONE)
        return;
    if (now.phase != transfer->phase) {
        transfer->phase = now.phase;
        output_progress_end(&transfer->line);
        output_progress_start(&transfer->line, transfer->cli->quiet || transfer->cli->json, time);
    }
    output_clean(now.name, name, sizeof name);
    snprintf(what, sizeof what, "%s%s%s", phases[now.phase], name[0] != 0 ? " " : "",
             output_clean(name, brief, sizeof brief));
    output_progress_draw(&transfer->line, what, now.bytes_done, now.bytes_total, time);
    if (!transfer->cli->json || time - transfer->json_ns < JSON_NS)
        return;
    transfer->json_ns = time;
    output_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "event", "progress", "phase", phases[now.phase],
                          "done", (json_int_t)now.bytes_done, "total", (json_int_t)now.bytes_total, "resumed",
                          (json_int_t)now.bytes_resumed, "files_done", (json_int_t)now.files_done, "files_total",
                          (json_int_t)now.files_total, "name", name));
}

int transfer_wait(struct cli *cli, struct kith_op *op)
{
    struct transfer transfer = { .cli = cli, .op = op, .phase = UINT8_MAX, .json_ns = loop_now() };
    int err;

    transfer.tick.on_due = draw;
    transfer.tick.user = &transfer;
    output_progress_start(&transfer.line, cli->quiet || cli->json, loop_now());
    loop_timer_set(&cli->loop, &transfer.tick, TICK_NS);
    err = loop_wait(&cli->loop, op);
    loop_timer_stop(&transfer.tick);
    output_progress_end(&transfer.line);
    return err;
}
