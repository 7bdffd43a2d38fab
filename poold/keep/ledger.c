/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the layout of the ledger, and how a record is written and believed; see ledger.h. */
#include "keep/ledger.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/util.h"
#include "http/json_keys.h"
#include "net/net_address.h"

#define MAGIC 0x726567646c746c76ull /* "vltldger" */
#define VM_COPY_BYTES 1008u         /* with what is reserved */
#define TEMPLATE_COPY_BYTES 240u

struct record_head {
    uint32_t state;  /* enum ledger_state; atomic */
    uint32_t counts; /* which copy does: 0 or 1; atomic */
    uint64_t check[2];
    uint64_t reserved;
};

struct vm_record {
    struct record_head head;
    uint8_t copy[2][VM_COPY_BYTES];
};

struct template_record {
    struct record_head head;
    uint8_t copy[2][TEMPLATE_COPY_BYTES];
};

struct layout {
    uint64_t magic;
    uint32_t version, vm_count, template_count, vm_end;
    struct ledger_numbers numbers;
    uint8_t more[HOST_PAGE_BYTES - 32];
    struct template_record templates[LEDGER_TEMPLATES_MAX];
    struct vm_record vms[LEDGER_VMS_MAX];
};

static_assert(sizeof(struct record_head) == 32, "as other builds have it");
static_assert(sizeof(struct vm_record) == 2048, "as other builds have it");
static_assert(sizeof(struct template_record) == 512, "as other builds have it");
static_assert(offsetof(struct layout, templates) == HOST_PAGE_BYTES, "as other builds have it");
static_assert(sizeof(struct ledger_vm) <= VM_COPY_BYTES, "it fits");
static_assert(sizeof(struct ledger_template) <= TEMPLATE_COPY_BYTES, "it fits");
static_assert(sizeof(struct ledger_vm) == 552 + LABELS_BYTES &&
                  sizeof(struct ledger_template) == 112,
              "fields are only added: see the third invariant");

struct ledger {
    int fd;
    struct layout *layout;
    uint32_t vm_next, template_next; /* where to look first */
};

/* ---- The mapping ---- */

static int map(int fd, struct ledger **ret_ledger)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);

    if (!ledger)
        return -ENOMEM;
    ledger->fd = fd;
    ledger->layout = mmap(NULL, sizeof *ledger->layout, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ledger->layout == MAP_FAILED) {
        free(ledger);
        return -errno;
    }
    *ret_ledger = ledger;
    return 0;
}

/* Sparse: only records in use take memory. Sealed: no reader is hurt by a file that shrinks. */
int ledger_create(struct ledger **ret_ledger, struct err *err)
{
    _cleanup_close_ int fd = memfd_create("volt-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int rc = fd < 0 || ftruncate(fd, sizeof(struct layout)) < 0 ||
                     fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0
                 ? -errno
                 : map(fd, ret_ledger);

    if (rc < 0)
        return err_set_errno(err, -rc, "making the ledger");
    take_fd(&fd);
    struct layout *layout = (*ret_ledger)->layout;
    layout->magic = MAGIC;
    layout->version = LEDGER_VERSION;
    layout->vm_count = LEDGER_VMS_MAX;
    layout->template_count = LEDGER_TEMPLATES_MAX;
    return 0;
}

int ledger_open(int fd, struct ledger **ret_ledger, struct err *err)
{
    _cleanup_close_ int taken = fd;
    struct ledger *ledger = NULL;
    struct stat st;

    if (fstat(fd, &st) < 0 || st.st_size != (off_t)sizeof(struct layout) ||
        !(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK))
        return err_set(err, EPROTO, "the ledger of the poold before is of another size");
    int rc = map(fd, &ledger);
    if (rc < 0)
        return err_set_errno(err, -rc, "mapping the ledger");
    take_fd(&taken);
    if (ledger->layout->magic == MAGIC && ledger->layout->version == LEDGER_VERSION &&
        ledger->layout->vm_count == LEDGER_VMS_MAX &&
        ledger->layout->template_count == LEDGER_TEMPLATES_MAX) {
        *ret_ledger = ledger;
        return 0;
    }
    rc = err_set(err, EPROTO, "the ledger of the poold before is of version %u, this one's of %u",
                 ledger->layout->version, LEDGER_VERSION);
    ledger_close(ledger);
    return rc;
}

void ledger_close(struct ledger *ledger)
{
    if (!ledger)
        return;
    munmap(ledger->layout, sizeof *ledger->layout);
    close_fd(&ledger->fd);
    free(ledger);
}

int ledger_fd(const struct ledger *ledger)
{
    return ledger->fd;
}

struct ledger_numbers *ledger_numbers(struct ledger *ledger)
{
    return &ledger->layout->numbers;
}

/* ---- Records ---- */

static void state_store(struct record_head *head, enum ledger_state state)
{
    __atomic_store_n(&head->state, (uint32_t)state, __ATOMIC_RELEASE);
}

static enum ledger_state state_load(const struct record_head *head)
{
    uint32_t state = __atomic_load_n(&head->state, __ATOMIC_ACQUIRE);

    return state < LEDGER_STATE_COUNT ? (enum ledger_state)state : LEDGER_BUSY;
}

/* `copies`: the two, of copy_bytes each, of which the first `bytes` are written and the rest is 0. */
static void copy_write(struct record_head *head, uint8_t *copies, size_t copy_bytes,
                       const void *what, size_t bytes)
{
    uint32_t other = !(__atomic_load_n(&head->counts, __ATOMIC_RELAXED) & 1);
    uint8_t *copy = copies + other * copy_bytes;

    memcpy(copy, what, bytes);
    memset(copy + bytes, 0, copy_bytes - bytes);
    head->check[other] = XXH3_64bits(copy, copy_bytes);
    __atomic_store_n(&head->counts, other, __ATOMIC_RELEASE);
}

/* Copied before it is checked: whoever else has the memory can't change it in between. */
static bool copy_read(const struct record_head *head, const uint8_t *copies, size_t copy_bytes,
                      void *ret_what, size_t bytes)
{
    uint8_t copy[VM_COPY_BYTES];
    uint32_t counts = __atomic_load_n(&head->counts, __ATOMIC_ACQUIRE);

    if (counts > 1)
        return false;
    memcpy(copy, copies + counts * copy_bytes, copy_bytes);
    if (XXH3_64bits(copy, copy_bytes) != head->check[counts])
        return false;
    memcpy(ret_what, copy, bytes);
    return true;
}

uint32_t ledger_vm_take(struct ledger *ledger)
{
    for (uint32_t i = 0; i < LEDGER_VMS_MAX; i++) {
        uint32_t index = (ledger->vm_next + i) % LEDGER_VMS_MAX;
        struct record_head *head = &ledger->layout->vms[index].head;

        if (state_load(head) != LEDGER_FREE)
            continue;
        ledger->layout->vm_end = MAX_OF(ledger->layout->vm_end, index + 1);
        state_store(head, LEDGER_BUSY);
        /* The lowest: records that were used already have their memory. */
        ledger->vm_next = index + 1;
        return index;
    }
    return LEDGER_NONE;
}

uint32_t ledger_vm_end(const struct ledger *ledger)
{
    return MIN_OF(ledger->layout->vm_end, LEDGER_VMS_MAX);
}

uint32_t ledger_template_take(struct ledger *ledger)
{
    for (uint32_t index = 0; index < LEDGER_TEMPLATES_MAX; index++) {
        struct record_head *head = &ledger->layout->templates[index].head;

        if (state_load(head) != LEDGER_FREE)
            continue;
        state_store(head, LEDGER_BUSY);
        return index;
    }
    return LEDGER_NONE;
}

void ledger_vm_write(struct ledger *ledger, uint32_t index, const struct ledger_vm *vm)
{
    if (index < LEDGER_VMS_MAX) {
        struct vm_record *record = &ledger->layout->vms[index];

        copy_write(&record->head, record->copy[0], VM_COPY_BYTES, vm, sizeof *vm);
    }
}

void ledger_template_write(struct ledger *ledger, uint32_t index,
                           const struct ledger_template *template)
{
    if (index < LEDGER_TEMPLATES_MAX) {
        struct template_record *record = &ledger->layout->templates[index];

        copy_write(&record->head, record->copy[0], TEMPLATE_COPY_BYTES, template, sizeof *template);
    }
}

void ledger_vm_state(struct ledger *ledger, uint32_t index, enum ledger_state state)
{
    if (index >= LEDGER_VMS_MAX)
        return;
    state_store(&ledger->layout->vms[index].head, state);
    if (state == LEDGER_FREE)
        ledger->vm_next = MIN_OF(ledger->vm_next, index);
}

void ledger_template_state(struct ledger *ledger, uint32_t index, enum ledger_state state)
{
    if (index < LEDGER_TEMPLATES_MAX)
        state_store(&ledger->layout->templates[index].head, state);
}

/* ---- Believing ---- */

static bool text_ends(const char *text, size_t bytes)
{
    return memchr(text, '\0', bytes) != NULL;
}

static bool id_is_good(const char *id)
{
    return strspn(id, "0123456789abcdef") == SLOT_ID_BYTES - 1 && id[SLOT_ID_BYTES - 1] == '\0';
}

static bool vm_is_good(const struct ledger_vm *vm)
{
    return text_ends(vm->id, sizeof vm->id) && id_is_good(vm->id) &&
           text_ends(vm->pool, sizeof vm->pool) && pool_name_valid(vm->pool) &&
           text_ends(vm->hostname, sizeof vm->hostname) &&
           text_ends(vm->labels, sizeof vm->labels) && labels_valid(vm->labels) &&
           text_ends(vm->net.link, sizeof vm->net.link) && vm->net.prefix_bits <= 32 &&
           vm->net.number < NET_HOSTS_MAX && vm->tier < TIER_COUNT &&
           vm->template_index < LEDGER_TEMPLATES_MAX && vm->publish_count <= NET_PUBLISH_MAX;
}

enum ledger_state ledger_vm_read(const struct ledger *ledger, uint32_t index,
                                 struct ledger_vm *ret_vm)
{
    if (index >= LEDGER_VMS_MAX)
        return LEDGER_FREE;
    const struct vm_record *record = &ledger->layout->vms[index];
    enum ledger_state state = state_load(&record->head);

    if (state != LEDGER_PARKED && state != LEDGER_LEASED)
        return state == LEDGER_FREE ? state : LEDGER_BUSY;
    return copy_read(&record->head, record->copy[0], VM_COPY_BYTES, ret_vm, sizeof *ret_vm) &&
                   vm_is_good(ret_vm)
               ? state
               : LEDGER_BUSY;
}

enum ledger_state ledger_template_read(const struct ledger *ledger, uint32_t index,
                                       struct ledger_template *ret_template)
{
    if (index >= LEDGER_TEMPLATES_MAX)
        return LEDGER_FREE;
    const struct template_record *record = &ledger->layout->templates[index];
    enum ledger_state state = state_load(&record->head);

    if (state != LEDGER_READY)
        return state == LEDGER_FREE ? state : LEDGER_BUSY;
    return copy_read(&record->head, record->copy[0], TEMPLATE_COPY_BYTES, ret_template,
                     sizeof *ret_template) &&
                   text_ends(ret_template->pool, sizeof ret_template->pool) &&
                   pool_name_valid(ret_template->pool)
               ? state
               : LEDGER_BUSY;
}
