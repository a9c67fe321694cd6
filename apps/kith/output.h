/**
 * What the program prints: JSON lines on stdout, notes and a progress line on stderr, sizes and times for people.
 * Escape sequences go to terminals only, and colours not there either when NO_COLOR is set.
 */
#ifndef APPS_OUTPUT_H
#define APPS_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { OUTPUT_NUMBER_SIZE = 32 };

/** "12.3 MB": powers of 1000, three or four digits. text holds OUTPUT_NUMBER_SIZE bytes. Returns text. */
const char *output_size(uint64_t bytes, char *text);
/** "1.25 Gbit/s". */
const char *output_bit_rate(double bytes_per_second, char *text);
/** "12.3 MB/s". */
const char *output_byte_rate(double bytes_per_second, char *text);
/** "0.123 ms", "1.50 s", "2:05". */
const char *output_duration(uint64_t ns, char *text);

/** Prints one object as a line on stdout, and gives it back. NULL (out of memory) prints nothing. False if stdout failed. */
bool output_json(json_t *object);
/** The same on another stream: for commands whose stdout carries data. */
bool output_json_to(FILE *file, json_t *object);
/** A line on stderr; it first takes away a progress line that is there. */
void output_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** A line that shows how far something is: redrawn in place on a terminal, a plain line now and then elsewhere. */
struct output_progress {
    bool is_terminal, is_shown;
    uint64_t started_ns, drawn_ns;
    uint64_t first_bytes; /* what was there at the start, and so does not count for the rate */
    uint64_t last_percent_told;
};
/** Starts. `quiet`: draws nothing at all. */
void output_progress_start(struct output_progress *progress, bool quiet, uint64_t now_ns);
/** Draws `what`, done of total (0: not known) with rate and time left; too soon after the last time it does nothing. */
void output_progress_draw(struct output_progress *progress, const char *what, uint64_t done, uint64_t total,
                          uint64_t now_ns);
/** Takes the line away. */
void output_progress_end(struct output_progress *progress);
/** Shows the cursor line clean again; safe in a signal handler. */
void output_restore_terminal(void);

/**
 * Prints a QR code of the text on stderr: half blocks where the locale is UTF-8, else "##". Returns NULL, or why it cannot
 * be shown.
 */
const char *output_qr(const char *text);
/**
 * Copies `from`, cut to fit, with '?' for what is not UTF-8, moves the cursor, or turns the direction of text round: nothing
 * that a peer chose may change what a terminal shows of the rest. Returns `to`.
 */
const char *output_clean(const char *from, char *to, size_t size);

#endif
