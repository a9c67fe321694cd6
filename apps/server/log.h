/** Log lines of a server program on stderr: text, text for the systemd journal, or JSON. Any thread. */
#ifndef APPS_SERVER_LOG_H
#define APPS_SERVER_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_TRACE };

/** Before the first line and the first thread. */
void log_init(int level, bool is_json);
/** True with --json. */
bool log_is_json(void);
int log_level(void);
/** The sink of kith_relay_options.log and its like. */
void log_write(void *ctx, int level, const char *part, const char *text);
/** A line of the program's own. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** "error", "warn", "info", "debug", "trace", or RUST_LOG's filters, of which the first plain level counts. False: none. */
bool log_level_parse(const char *text, int *level);

#endif
