#include "base/heap.h"
#include "base/list.h"
#include "base/test.h"

enum { NODES = 200 };

KITH_TEST(heap_gives_nodes_by_key_then_by_age)
{
    struct kith_heap heap;
    struct kith_heap_node nodes[NODES], *node;
    uint64_t state = kith__test_seed(1), key = 0, order = 0;
    size_t left = 0;

    kith__heap_init(&heap, kith_mem_default());
    KITH_CHECK(kith__heap_first(&heap) == NULL);
    for (size_t i = 0; i < NODES; i++)
        kith__heap_node_init(&nodes[i]);
    for (size_t i = 0; i < 4 * NODES; i++) {
        node = &nodes[kith__test_random(&state) % NODES];
        if (kith__test_random(&state) % 4 == 0)
            kith__heap_remove(&heap, node);
        else
            KITH_CHECK_EQ(kith__heap_set(&heap, node, kith__test_random(&state) % 20), 0);
    }
    for (size_t i = 0; i < NODES; i++)
        left += nodes[i].index != KITH_HEAP_OUT;
    KITH_CHECK_EQ(heap.count, left);
    for (; (node = kith__heap_first(&heap)) != NULL; left--) {
        KITH_CHECK(node->key > key || (node->key == key && (order == 0 || node->order > order)));
        key = node->key;
        order = node->order;
        kith__heap_remove(&heap, node);
        KITH_CHECK_EQ(node->index, KITH_HEAP_OUT);
    }
    KITH_CHECK_EQ(left, 0);
    kith__heap_dispose(&heap);
}

KITH_TEST(heap_node_moved_to_its_own_key_keeps_its_place)
{
    struct kith_heap heap;
    struct kith_heap_node a, b;

    kith__heap_init(&heap, kith_mem_default());
    kith__heap_node_init(&a);
    kith__heap_node_init(&b);
    KITH_CHECK_EQ(kith__heap_set(&heap, &a, 5), 0);
    KITH_CHECK_EQ(kith__heap_set(&heap, &b, 5), 0);
    KITH_CHECK_EQ(kith__heap_set(&heap, &a, 5), 0);
    KITH_CHECK(kith__heap_first(&heap) == &a);
    KITH_CHECK_EQ(kith__heap_set(&heap, &a, 6), 0);
    KITH_CHECK_EQ(kith__heap_set(&heap, &a, 5), 0);
    KITH_CHECK(kith__heap_first(&heap) == &b);
    kith__heap_dispose(&heap);
    KITH_CHECK_EQ(a.index, KITH_HEAP_OUT);
}

KITH_TEST(heap_reserved_before_needs_no_memory)
{
    struct kith_test_mem mem;
    struct kith_heap heap;
    struct kith_heap_node nodes[20];

    kith__test_mem_init(&mem, 2);
    kith__heap_init(&heap, &mem.mem);
    KITH_CHECK_EQ(kith__heap_reserve(&heap, 19), 0);
    for (size_t i = 0; i < 19; i++) {
        kith__heap_node_init(&nodes[i]);
        KITH_CHECK_EQ(kith__heap_set(&heap, &nodes[i], i), 0);
    }
    kith__heap_node_init(&nodes[19]);
    KITH_CHECK_EQ(kith__heap_set(&heap, &nodes[19], 0), KITH_ERR_NOMEM);
    KITH_CHECK_EQ(nodes[19].index, KITH_HEAP_OUT);
    KITH_CHECK_EQ(heap.count, 19);
    kith__heap_dispose(&heap);
    KITH_CHECK_EQ(mem.live, 0);
}

struct item {
    int value;
    struct kith_list node;
};

KITH_TEST(list_keeps_order_and_nodes_leave_by_themselves)
{
    struct kith_list head;
    struct item items[4];
    int sum = 0;

    kith__list_init(&head);
    KITH_CHECK(kith__list_is_empty(&head) && kith__list_first(&head) == NULL);
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        kith__list_init(&items[i].node);
        KITH_CHECK(!kith__list_is_linked(&items[i].node));
    }
    kith__list_push_back(&head, &items[1].node);
    kith__list_push_back(&head, &items[3].node);
    kith__list_push_front(&head, &items[0].node);
    kith__list_insert_before(&items[3].node, &items[2].node);
    KITH_LIST_EACH(node, &head) sum = sum * 10 + KITH_CONTAINER(node, struct item, node)->value;
    KITH_CHECK_EQ(sum, 123);
    KITH_LIST_EACH_SAFE(node, after, &head)
    {
        if (KITH_CONTAINER(node, struct item, node)->value != 2)
            kith__list_remove(node);
    }
    KITH_CHECK(kith__list_first(&head) == &items[2].node);
    KITH_CHECK(items[2].node.next == &head);
}
