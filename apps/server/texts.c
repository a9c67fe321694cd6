/* Texts that a configuration owns. */
#include "texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *must(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void free_secret(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void texts_add(struct texts *texts, const char *text)
{
    if (texts->count == texts->capacity) {
        texts->capacity = texts->capacity * 2 + 8;
        texts->items = must(realloc(texts->items, texts->capacity * sizeof *texts->items));
    }
    texts->items[texts->count++] = must(strdup(text));
}

const char *texts_take(void *target, const char *text)
{
    if (text[0] == 0)
        return "it is empty";
    texts_add(target, text);
    return NULL;
}

void texts_replace(struct texts *texts, const struct texts *by)
{
    if (by->count == 0)
        return;
    texts_free(texts);
    for (size_t i = 0; i < by->count; i++)
        texts_add(texts, by->items[i]);
}

bool texts_same(const struct texts *a, const struct texts *b)
{
    for (size_t i = 0; a->count == b->count && i < a->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return a->count == b->count;
}

void texts_free(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free_secret(texts->items[i]);
    free(texts->items);
    *texts = (struct texts) { 0 };
}

void text_set(char **target, const char *text)
{
    char *copy = text != NULL ? must(strdup(text)) : NULL;

    free_secret(*target);
    *target = copy;
}

bool text_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}
