/** Texts that a configuration owns. Whoever has no memory for them ends the program: nothing runs yet. */
#ifndef APPS_SERVER_TEXTS_H
#define APPS_SERVER_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

/** A list of texts that grows; owned. Zeroed: empty. */
struct texts {
    char **items;
    size_t count, capacity;
};

/** Adds a copy. */
void texts_add(struct texts *texts, const char *text);
/** OPTION_CALL: adds a text that is not empty to a struct texts. */
const char *texts_take(void *target, const char *text);
/** Copies of these in the place of what is there; none: what is there stays. */
void texts_replace(struct texts *texts, const struct texts *by);
/** True for the same texts in the same order. */
bool texts_same(const struct texts *a, const struct texts *b);
/** Wipes (some are tokens) and frees. */
void texts_free(struct texts *texts);
/** Sets an owned text (NULL: none); the old one is wiped. */
void text_set(char **target, const char *text);
/** True for the same text, or none in both. */
bool text_same(const char *a, const char *b);
/** Gives memory back as it is, or ends the program where it is NULL. */
void *must(void *memory);

#endif
