/** Texts that a configuration owns. Whoever has no memory for them ends the program: nothing runs yet. */
#ifndef APPS_SERVER_TEXTS_H
#define APPS_SERVER_TEXTS_H

#include <stddef.h>

/** A list of texts that grows; owned. Zeroed: empty. */
struct texts {
    char **items;
    size_t count, capacity;
};

/** Adds a copy. */
void texts_add(struct texts *texts, const char *text);
/** Wipes (some are tokens) and frees. */
void texts_free(struct texts *texts);
/** Sets an owned text (NULL: none); the old one is wiped. */
void text_set(char **target, const char *text);
/** Gives memory back as it is, or ends the program where it is NULL. */
void *must(void *memory);

#endif
