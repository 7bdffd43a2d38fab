/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the loop over an archive's members; see members.h.
 *
 * What libarchive says of a member is text and numbers, no more: names are confined here, sizes are
 * held against what comes, and nothing of libarchive's own that writes files is used. */
#include "members.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "whiteout.h"

#define READ_BYTES KIB(64)

struct reader {
    struct archive *archive;
    int fd;
    uint64_t left; /* of the source */
    bool read_all; /* the source is at its end */
    bool cut;      /* and the last member has no padding: nothing follows */
    struct member member;
    uint8_t buffer[READ_BYTES];
};

/* ---- libarchive ---- */

static la_ssize_t source_read(struct archive *archive, void *context, const void **ret_data)
{
    struct reader *reader = context;
    ssize_t n;

    do
        n = read(reader->fd, reader->buffer, MIN_OF(reader->left, sizeof reader->buffer));
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        archive_set_error(archive, errno, "reading the archive failed");
        return ARCHIVE_FATAL;
    }
    reader->left -= (uint64_t)n;
    reader->read_all = n == 0;
    *ret_data = reader->buffer;
    return n;
}

static int archive_fails(struct reader *reader, struct err *err)
{
    const char *text = archive_error_string(reader->archive);
    int code = archive_errno(reader->archive);
    char shown[200];

    if (code <= 0 || code >= 4096)
        code = EINVAL;
    if (!text)
        return err_set(err, code, "the archive is damaged");
    return err_set(err, code, "the archive is damaged: %s",
                   name_printable(text, shown, sizeof shown));
}

static int archive_open(struct reader *reader, bool compressed, struct err *err)
{
    static int (*const filters[])(struct archive *) = {
        archive_read_support_filter_gzip,
        archive_read_support_filter_zstd,
        archive_read_support_filter_xz,
        archive_read_support_filter_bzip2,
    };

    reader->archive = archive_read_new();
    if (!reader->archive)
        return err_set(err, ENOMEM, "out of memory");
    int rc = archive_read_support_format_tar(reader->archive);
    for (size_t i = 0; i < ARRAY_LEN(filters) && compressed && rc >= ARCHIVE_WARN; i++)
        rc = filters[i](reader->archive);
    if (rc >= ARCHIVE_WARN)
        rc = archive_read_open(reader->archive, reader, NULL, source_read, NULL);
    return rc < ARCHIVE_WARN ? archive_fails(reader, err) : 0;
}

/* ---- One member ---- */

static enum member_type type_of(unsigned filetype)
{
    switch (filetype) {
    case AE_IFREG:
        return MEMBER_FILE;
    case AE_IFDIR:
        return MEMBER_FOLDER;
    case AE_IFLNK:
        return MEMBER_SYMLINK;
    case AE_IFCHR:
        return MEMBER_CHAR_DEVICE;
    case AE_IFBLK:
        return MEMBER_BLOCK_DEVICE;
    case AE_IFIFO:
        return MEMBER_FIFO;
    default:
        return MEMBER_TYPE_COUNT;
    }
}

/* Of "-1.25" libarchive makes second -1 and a quarter behind it, where it is before it. What is within
 * the second before 1970 it takes for one within the second after. */
static struct timespec mtime_of(struct archive_entry *entry)
{
    struct timespec mtime = {
        .tv_sec = archive_entry_mtime(entry),
        .tv_nsec = archive_entry_mtime_nsec(entry) % (long)NS_PER_S,
    };

    if (mtime.tv_sec < 0 && mtime.tv_nsec > 0) {
        mtime.tv_sec--;
        mtime.tv_nsec = (long)NS_PER_S - mtime.tv_nsec;
    }
    return mtime;
}

static int link_take(struct archive_entry *entry, const struct members_rules *rules,
                     struct member *member, struct err *err)
{
    const char *hard = archive_entry_hardlink(entry), *symbolic = archive_entry_symlink(entry);

    if (hard) {
        member->type = MEMBER_HARDLINK;
        int rc = name_confine(&rules->names, hard, member->link, err);
        return rc < 0 ? err_wrap(err, "a hard link") : 0;
    }
    if (member->type != MEMBER_SYMLINK)
        return 0;
    if (!symbolic || !*symbolic || strlen(symbolic) >= sizeof member->link)
        return err_set(err, ENAMETOOLONG, "the archive has a link that leads nowhere");
    strcpy(member->link, symbolic);
    return 0;
}

/* Others mean something to the host, or to the overlay that VMs put over an image. */
static void xattrs_take(struct archive_entry *entry, const struct members_rules *rules,
                        struct place_tally *tally, struct member *member)
{
    struct member_xattr xattr;

    archive_entry_xattr_reset(entry);
    while (member->xattr_count < PLACE_XATTRS_MAX &&
           archive_entry_xattr_next(entry, &xattr.name, &xattr.value, &xattr.bytes) == ARCHIVE_OK) {
        bool capability = xattr.name && strcmp(xattr.name, "security.capability") == 0;

        if (capability && !rules->capabilities)
            tally->xattrs++;
        else if (capability || (xattr.name && strncmp(xattr.name, "user.", 5) == 0))
            member->xattrs[member->xattr_count++] = xattr;
    }
}

/* Fills in reader->member. */
static int member_take(struct reader *reader, struct archive_entry *entry,
                       const struct members_rules *rules, struct place_tally *tally,
                       struct err *err)
{
    struct member *member = &reader->member;
    const char *name = archive_entry_pathname(entry);

    if (!name)
        return err_set(err, EINVAL, "the archive has a member without a name");
    int rc = name_confine(&rules->names, name, member->path, err);
    member->link[0] = '\0';
    member->type = type_of(archive_entry_filetype(entry));
    if (rc == 0)
        rc = link_take(entry, rules, member, err);
    if (rc < 0)
        return rc;
    if (member->type == MEMBER_TYPE_COUNT)
        return err_set(err, EINVAL, "the archive has a member of an unknown kind");
    member->mode = archive_entry_mode(entry) & 07777;
    member->uid = (uid_t)archive_entry_uid(entry);
    member->gid = (gid_t)archive_entry_gid(entry);
    member->device = archive_entry_rdev(entry);
    member->bytes = 0;
    if (member->type == MEMBER_FILE)
        member->bytes = (uint64_t)MAX_OF(archive_entry_size(entry), 0);
    member->mtime = mtime_of(entry);
    member->xattr_count = 0;
    xattrs_take(entry, rules, tally, member);
    return 0;
}

/* Some tools end a layer with the last byte of its last file. A layer's digest says that this is how
 * it was made. */
static bool only_padding_lacks(const struct reader *reader, const struct members_rules *rules,
                               uint64_t data_end)
{
    return rules->layer && reader->read_all && data_end == reader->member.bytes;
}

static int data_take(struct reader *reader, const struct members_rules *rules, struct place *place,
                     struct err *err)
{
    uint64_t data_end = 0;

    for (;;) {
        const void *data;
        size_t bytes;
        la_int64_t offset;
        int rc = archive_read_data_block(reader->archive, &data, &bytes, &offset);

        if (rc == ARCHIVE_EOF)
            return 0;
        if (rc < ARCHIVE_WARN && only_padding_lacks(reader, rules, data_end)) {
            reader->cut = true;
            return 0;
        }
        if (rc < ARCHIVE_WARN)
            return archive_fails(reader, err);
        if (offset < 0 || (uint64_t)offset > reader->member.bytes ||
            bytes > reader->member.bytes - (uint64_t)offset)
            return err_set(err, EINVAL, "the archive has more of %s than it said",
                           place->tally.last);
        if (place->tally.bytes + bytes > rules->bytes_max)
            return err_set(err, EFBIG, "the archive holds more than %llu MiB",
                           (unsigned long long)(rules->bytes_max >> 20));
        rc = place_data(place, data, bytes, (uint64_t)offset, err);
        if (rc < 0)
            return rc;
        data_end = (uint64_t)offset + bytes;
    }
}

static int member_unpack(struct reader *reader, struct archive_entry *entry,
                         const struct members_rules *rules, struct place *place, struct err *err)
{
    const struct member *member = &reader->member;
    int rc = member_take(reader, entry, rules, &place->tally, err);

    if (rc < 0)
        return rc;
    if (rules->layer && whiteout_is(member->path))
        return whiteout_apply(place, member->path, err);
    if (member->bytes > rules->bytes_max)
        return err_set(err, EFBIG, "the archive has a file of %llu MiB; %llu MiB is the limit",
                       (unsigned long long)(member->bytes >> 20),
                       (unsigned long long)(rules->bytes_max >> 20));
    rc = place_begin(place, member, err);
    if (rc == 0 && member->type == MEMBER_FILE)
        rc = data_take(reader, rules, place, err);
    if (rc == 0)
        rc = place_end(place, member, err);
    if (rc < 0)
        place_abandon(place, member);
    return rc;
}

/* ---- All of them ---- */

static int members_loop(struct reader *reader, const struct members_rules *rules,
                        struct place *place, struct err *err)
{
    for (;;) {
        struct archive_entry *entry;
        int rc = archive_read_next_header(reader->archive, &entry);

        if (rc == ARCHIVE_EOF)
            return 0;
        /* A warning is about a name that is no UTF-8; it comes as it is. */
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
            return archive_fails(reader, err);
        rc = member_unpack(reader, entry, rules, place, err);
        if (rc < 0 || reader->cut)
            return rc;
    }
}

/* What follows the end marker: whoever sends it must not be left waiting. */
static int source_drain(struct reader *reader, struct err *err)
{
    const void *data;
    la_ssize_t n = 1;

    while (n > 0)
        n = source_read(reader->archive, reader, &data);
    return n < 0 ? archive_fails(reader, err) : 0;
}

int members_unpack(const struct members_source *source, const struct members_rules *rules,
                   struct place *place, struct err *err)
{
    struct reader *reader = malloc(sizeof *reader);

    if (!reader)
        return err_set(err, ENOMEM, "out of memory");
    reader->fd = source->fd;
    reader->left = source->bytes;
    reader->read_all = reader->cut = false;
    int rc = archive_open(reader, rules->compressed, err);
    if (rc == 0)
        rc = members_loop(reader, rules, place, err);
    if (rc == 0)
        rc = source_drain(reader, err);
    archive_read_free(reader->archive);
    free(reader);
    return rc;
}
