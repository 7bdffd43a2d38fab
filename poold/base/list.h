/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list: slots by state, waiting acquires, open requests. A node is in at
 * most one list; a node that is in none points to itself. Loop thread only. */
#ifndef VOLT_POOLD_LIST_H
#define VOLT_POOLD_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Visits every node; the body may remove and free `at`. */
#define LIST_FOR_EACH(at, head)                                                                    \
    for (struct list *at = (head)->next, *at##_next = at->next; at != (head);                      \
         at = at##_next, at##_next = at->next)

static inline void list_init(struct list *head)
{
    head->prev = head->next = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_append(struct list *head, struct list *node)
{
    list_insert_between(node, head->prev, head);
}

static inline void list_prepend(struct list *head, struct list *node)
{
    list_insert_between(node, head, head->next);
}

/* Moves all nodes of `from` to the end of head. */
static inline void list_take_all(struct list *head, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = head->prev;
    head->prev->next = from->next;
    from->prev->next = head;
    head->prev = from->prev;
    list_init(from);
}

/* Harmless for a node that is in no list. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#endif
