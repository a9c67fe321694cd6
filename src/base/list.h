/** Intrusive doubly linked list: the node sits in the object, so nothing is allocated and a node knows how to leave. */
#ifndef KITH_BASE_LIST_H
#define KITH_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct kith_list { /* a head, or a node; a node outside any list points at itself */
    struct kith_list *next, *prev;
};

#define KITH_CONTAINER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void kith__list_init(struct kith_list *node)
{
    node->next = node->prev = node;
}
static inline bool kith__list_is_empty(const struct kith_list *head)
{
    return head->next == head;
}
/** True if the node is in a list. */
static inline bool kith__list_is_linked(const struct kith_list *node)
{
    return node->next != node;
}
static inline void kith__list_insert_before(struct kith_list *at, struct kith_list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void kith__list_push_back(struct kith_list *head, struct kith_list *node)
{
    kith__list_insert_before(head, node);
}
static inline void kith__list_push_front(struct kith_list *head, struct kith_list *node)
{
    kith__list_insert_before(head->next, node);
}
/** Leaves the list; fine for a node that is in none. */
static inline void kith__list_remove(struct kith_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    kith__list_init(node);
}
static inline struct kith_list *kith__list_first(const struct kith_list *head)
{
    return head->next == head ? NULL : head->next;
}
#define KITH_LIST_EACH(node, head) for (struct kith_list *node = (head)->next; node != (head); node = node->next)
/** Safe when the body removes `node`. */
#define KITH_LIST_EACH_SAFE(node, after, head)                                                                         \
    for (struct kith_list *node = (head)->next, *after = node->next; node != (head); node = after, after = node->next)

#endif
