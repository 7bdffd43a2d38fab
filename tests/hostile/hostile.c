/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of archives that mean harm; see hostile.h. Each row is a way out that some unpacker
 * has had, or one beside it. */
#include "hostile.h"

#include <stdio.h>
#include <string.h>

#include "hostile_odd.h"

#define MEMBERS_MAX 6

struct hostile_case {
    const char *title;
    struct hostile_member members[MEMBERS_MAX];
    hostile_odd odd; /* writes the rest of it */
};

#define FILE_AT(n) .name = n
#define DIR_AT(n, m) .name = n, .type = '5', .mode = m
#define SYM_AT(n, l) .name = n, .type = '2', .link = l
#define HARD_AT(n, l) .name = n, .type = '1', .link = l
#define NODE_AT(n, t, major_, minor_) .name = n, .type = t, .major = major_, .minor = minor_

static const struct hostile_case cases[] = {
    /* ---- Names that lead out ---- */
    { "an absolute name", { { FILE_AT("%/file") } } },
    { "an absolute name of a new file", { { FILE_AT("%/new") } } },
    { "two slashes before an absolute name", { { FILE_AT("/%/new") } } },
    { "an absolute name behind the top", { { FILE_AT("@/%/new") } } },
    { "an absolute name behind the top and a slash more", { { FILE_AT("@//%/new") } } },
    { "an absolute name behind the top and a dot", { { FILE_AT("@/./%/new") } } },
    { "an absolute name behind a dot", { { FILE_AT("./%/new") } } },
    { "an absolute name behind two tops", { { FILE_AT("@/@/%/new") } } },
    { "..", { { FILE_AT("../victim/new") } } },
    { ".. over what is there", { { FILE_AT("../victim/file") } } },
    { ".. behind a dot", { { FILE_AT("./../victim/new") } } },
    { ".. behind the top", { { FILE_AT("@/../victim/new") } } },
    { "two .. behind the top", { { FILE_AT("@/../../victim/new") } } },
    { "many ..", { { FILE_AT("@/../../../../../../../../../../../../../%/new") } } },
    { ".. behind a folder", { { DIR_AT("@/d", 0755) }, { FILE_AT("@/d/../../../victim/new") } } },
    { ".. between slashes", { { FILE_AT("@//..//..//victim//new") } } },
    { "a folder ..", { { DIR_AT("..", 0) } } },
    { "a folder ../..", { { DIR_AT("@/../..", 0) } } },
    { "a folder that ends in /..", { { DIR_AT("@/d/../..", 0) } } },
    { "the root as a folder", { { DIR_AT("/", 0755) } } },
    { "the victim as a folder", { { DIR_AT("%", 0) } } },
    { "the victim's folder made anew", { { DIR_AT("%/dir/", 0) } } },
    { "an empty name", { { FILE_AT("") } } },
    { "a file called .", { { FILE_AT(".") } } },
    { "a file called ..", { { FILE_AT("..") } } },
    { "a file called /", { { FILE_AT("/") } } },
    { "a name of another top", { { FILE_AT("other/new") } } },
    { "a name that begins like the top", { { FILE_AT("@x/new") } } },
    { "backslashes", { { FILE_AT("@\\..\\..\\victim\\new") } } },
    { "terminal escapes in a name", { { FILE_AT("@/\033]0;evil\007\033[2J/../../victim/new") } } },
    { "the prefix of ustar is absolute", { { FILE_AT("new"), .prefix = "%" } } },
    { "the prefix of ustar is ..", { { FILE_AT("victim/new"), .prefix = "@/../.." } } },
    { "the prefix of ustar ends in a slash", { { FILE_AT("%/new"), .prefix = "@/" } } },

    /* ---- Names from extended headers ---- */
    { "a pax path that is absolute", { { FILE_AT("@/a"), .pax = "path=%/new" } } },
    { "a pax path behind the top", { { FILE_AT("@/a"), .pax = "path=@/%/new" } } },
    { "a pax path with ..", { { FILE_AT("@/a"), .pax = "path=@/../../victim/new" } } },
    { "two pax paths", { { FILE_AT("@/a"), .pax = "path=@/b\npath=%/new" } } },
    { "an empty pax path", { { FILE_AT("%/new"), .pax = "path=" } } },
    { "a global pax path", { { FILE_AT("@/a"), .pax = "path=%/new", .pax_type = 'g' } } },
    { "a GNU sparse name",
      { { FILE_AT("@/a"), .pax = "GNU.sparse.name=%/new\nGNU.sparse.size=4" } } },
    { "a GNU sparse 1.0 name",
      { { FILE_AT("@/a"),
          .pax = "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.name=%/new\n"
                 "GNU.sparse.realsize=4",
          .data = "1\n0\n4\n" } } },
    { "a long name that is absolute", { { FILE_AT("@/a") } }, hostile_long_absolute },
    { "a long name with ..", { { FILE_AT("@/a") } }, hostile_long_dots },
    { "a long name with a NUL in it", { { FILE_AT("@/a") } }, hostile_long_nul },
    { "a long name without an end", { { FILE_AT("@/a") } }, hostile_long_endless },
    { "a component of 256 bytes", { { FILE_AT("@/a") } }, hostile_long_component },
    { "a name of 5,000 bytes", { { FILE_AT("@/a") } }, hostile_long_path },
    { "folders nested 2,000 deep", { { FILE_AT("@/a") } }, hostile_deep },
    { "folders nested deeper than a path, by links", { { DIR_AT("@", 0) } }, hostile_deeper },
    { "a long name for nobody", { { FILE_AT("@/a") } }, hostile_long_alone },
    { "a thousand long names in a row", { { FILE_AT("@/a") } }, hostile_long_row },
    { "a pax header in a pax header's place", { { FILE_AT("@/a") } }, hostile_pax_row },
    { "a pax record that lies about its length", { { FILE_AT("@/a") } }, hostile_pax_lies },
    { "a pax record without an end", { { FILE_AT("@/a") } }, hostile_pax_endless },
    { "a pax path with a NUL in it", { { FILE_AT("@/a") } }, hostile_pax_nul },
    { "old GNU names (type N)",
      { { .name = "@/a", .type = 'N', .data = "Rename @/a to %/new\n" } } },

    /* ---- Links, and what comes beneath them ---- */
    { "a link, then a file beneath it", { { SYM_AT("@/l", "%") }, { FILE_AT("@/l/new") } } },
    { "a link, then over a file beneath it", { { SYM_AT("@/l", "%") }, { FILE_AT("@/l/file") } } },
    { "a link by ..", { { SYM_AT("@/l", "../../victim") }, { FILE_AT("@/l/new") } } },
    { "a link by .. from the top", { { SYM_AT("@/l", "../victim") }, { FILE_AT("@/l/new") } } },
    { "a link to /", { { SYM_AT("@/l", "/") }, { FILE_AT("@/l/%/new") } } },
    { "a link to ..", { { SYM_AT("@/l", "..") }, { FILE_AT("@/l/../victim/new") } } },
    { "a link to .", { { SYM_AT("@/l", ".") }, { FILE_AT("@/l/l/l/../../victim/new") } } },
    { "a link with a slash behind its name", { { SYM_AT("@/l/", "%") }, { FILE_AT("@/l/new") } } },
    { "a chain of links",
      { { SYM_AT("@/a", "b") },
        { SYM_AT("@/b", "c") },
        { SYM_AT("@/c", "%") },
        { FILE_AT("@/a/new") } } },
    { "a chain that climbs",
      { { DIR_AT("@/d", 0755) },
        { SYM_AT("@/d/up", "..") },
        { SYM_AT("@/d/out", "up/../..") },
        { FILE_AT("@/d/out/victim/new") },
        { FILE_AT("@/d/out/../victim/new") } } },
    { "a link in a loop",
      { { SYM_AT("@/a", "b") }, { SYM_AT("@/b", "a") }, { FILE_AT("@/a/new") } } },
    { "a link, then a folder in its place", { { SYM_AT("@/l", "%/dir") }, { DIR_AT("@/l", 0) } } },
    { "a link, then a folder beneath it", { { SYM_AT("@/l", "%") }, { DIR_AT("@/l/dir", 0) } } },
    { "a link, then a folder made beneath it",
      { { SYM_AT("@/l", "%") }, { DIR_AT("@/l/made", 0) } } },
    { "a link, then a link beneath it", { { SYM_AT("@/l", "%") }, { SYM_AT("@/l/new", "file") } } },
    { "a link to a file, then a file in its place",
      { { SYM_AT("@/l", "%/file") }, { FILE_AT("@/l") } } },
    { "a link to nothing, then a file in its place",
      { { SYM_AT("@/l", "%/new") }, { FILE_AT("@/l") } } },
    { "a folder that becomes a link",
      { { DIR_AT("@/d", 0755) }, { SYM_AT("@/d", "%") }, { FILE_AT("@/d/new") } } },
    { "a folder with a mode to come that becomes a link",
      { { DIR_AT("@/dir", 0) }, { SYM_AT("@/dir", "%/dir") }, { FILE_AT("@/z") } } },
    { "a file that becomes a link",
      { { FILE_AT("@/f") }, { SYM_AT("@/f", "%/file") }, { FILE_AT("@/f"), .mode = 0777 } } },
    { "the top becomes a link",
      { { DIR_AT("@", 0755) }, { SYM_AT("@", "%") }, { FILE_AT("@/new") }, { DIR_AT("@", 0) } } },
    { "the top is a link", { { SYM_AT("@", "%") }, { FILE_AT("@/new") } } },
    { "the top is a link to a file", { { SYM_AT("@", "%/file") }, { FILE_AT("@") } } },
    { "a file, then a file beneath it", { { FILE_AT("@/f") }, { FILE_AT("@/f/new") } } },
    { "a pax linkpath", { { SYM_AT("@/l", "d"), .pax = "linkpath=%" }, { FILE_AT("@/l/new") } } },
    { "a link to nowhere", { { SYM_AT("@/l", "") }, { FILE_AT("@/l/new") } } },
    { "a link to /proc/self/root",
      { { SYM_AT("@/l", "/proc/self/root") }, { FILE_AT("@/l/%/new") } } },
    { "a link to /proc/self/cwd",
      { { SYM_AT("@/l", "/proc/self/cwd") }, { FILE_AT("@/l/../victim/new") } } },
    { "a link to a descriptor",
      { { SYM_AT("@/l", "/proc/self/fd/4") }, { FILE_AT("@/l/../victim/new") } } },
    { "a link of 4,000 bytes", { { FILE_AT("@/a") } }, hostile_long_link },
    { "a link with data", { { SYM_AT("@/l", "%/file"), .data = "evil" }, { FILE_AT("@/l") } } },

    /* ---- Second names ---- */
    { "a second name of the victim", { { HARD_AT("@/h", "%/file") } } },
    { "a second name of the victim, then over it",
      { { HARD_AT("@/h", "%/file") }, { FILE_AT("@/h") } } },
    { "a second name by ..", { { HARD_AT("@/h", "../victim/file") }, { FILE_AT("@/h") } } },
    { "a second name by .. behind the top",
      { { HARD_AT("@/h", "@/../../victim/file") }, { FILE_AT("@/h") } } },
    { "a second name behind an empty component",
      { { HARD_AT("@/h", "@/%/file") }, { FILE_AT("@/h") } } },
    { "a second name beneath a link",
      { { SYM_AT("@/l", "%") }, { HARD_AT("@/h", "@/l/file") }, { FILE_AT("@/h") } } },
    { "a second name of a link to the victim, then over it",
      { { SYM_AT("@/l", "%/file") }, { HARD_AT("@/h", "@/l") }, { FILE_AT("@/h") } } },
    { "a second name of a link, with data",
      { { SYM_AT("@/l", "%/file") }, { HARD_AT("@/h", "@/l"), .data = "evil", .mode = 0777 } } },
    { "a second name with data", { { HARD_AT("@/h", "%/file"), .data = "evil", .mode = 0777 } } },
    { "a second name of a link to a folder, then beneath it",
      { { SYM_AT("@/l", "%") }, { HARD_AT("@/h", "@/l") }, { FILE_AT("@/h/new") } } },
    { "a second name beneath a link's folder",
      { { SYM_AT("@/l", "%") }, { FILE_AT("@/f") }, { HARD_AT("@/l/new", "@/f") } } },
    { "a pax linkpath of a second name",
      { { HARD_AT("@/h", "@/a"), .pax = "linkpath=%/file" }, { FILE_AT("@/h") } } },
    { "a second name of itself", { { HARD_AT("@/h", "@/h") } } },
    { "a second name of the target", { { HARD_AT("@/h", "@") } } },
    { "a second name of nothing", { { HARD_AT("@/h", "") } } },

    /* ---- What is no file ---- */
    { "a character device", { { NODE_AT("@/null", '3', 1, 3) } } },
    { "a block device, then into it",
      { { NODE_AT("@/disk", '4', 240, 0) }, { FILE_AT("@/disk") } } },
    { "a device as the top", { { NODE_AT("@", '3', 1, 3) } } },
    { "a FIFO, then into it", { { NODE_AT("@/fifo", '6', 0, 0) }, { FILE_AT("@/fifo") } } },
    { "a device beneath a link", { { SYM_AT("@/l", "%") }, { NODE_AT("@/l/new", '3', 1, 3) } } },
    { "a set-uid file", { { FILE_AT("@/suid"), .mode = 06777 } } },
    { "a set-gid folder", { { DIR_AT("@/sgid", 07777) }, { FILE_AT("@/sgid/f") } } },
    { "an unknown type",
      { { .name = "@/z", .type = 'Z', .data = "evil" }, { .name = "%/new", .type = 'Z' } } },
    { "a GNU dump folder", { { .name = "@/d", .type = 'D', .data = "Rfile\0Tnew\0" } } },
    { "a volume's name, and its continuation",
      { { .name = "%/new", .type = 'V' }, { .name = "%/new", .type = 'M', .data = "evil" } } },
    { "attributes of the victim",
      { { SYM_AT("@/l", "%/file"), .pax = "SCHILY.xattr.user.evil=1" },
        { FILE_AT("@/l"),
          .pax = "SCHILY.xattr.security.capability=1\nSCHILY.xattr.trusted.overlay.redirect=%\n"
                 "LIBARCHIVE.xattr.user.evil=MQ==" } } },
    { "access lists",
      { { FILE_AT("@/a"),
          .pax = "SCHILY.acl.access=user::rwx,group::rwx,other::rwx,user:0:rwx,mask::rwx" } } },

    /* ---- Sizes that lie, and archives that are none ---- */
    { "more than there is", { { FILE_AT("@/a"), .size = "00000001000" } } },
    { "octal 8 GiB", { { FILE_AT("@/a"), .size = "77777777777" } } },
    { "2^62 bytes", { { FILE_AT("@/a"), .size = "\x80\0\0\0\x40" } }, hostile_size_huge },
    { "-1 bytes", { { FILE_AT("@/a") } }, hostile_size_negative },
    { "no number of bytes", { { FILE_AT("@/a"), .size = "0000x000000" } } },
    { "a pax size that is huge", { { FILE_AT("@/a"), .pax = "size=9223372036854775807" } } },
    { "a pax size that is negative", { { FILE_AT("@/a"), .pax = "size=-512" } } },
    { "a member in the data of another", { { FILE_AT("@/a") } }, hostile_smuggle },
    { "a member behind a pax size of 0", { { FILE_AT("@/a") } }, hostile_smuggle_pax },
    { "a folder with data",
      { { .name = "@/d", .type = '5', .data = "evil" }, { FILE_AT("@/d/a") } } },
    { "an old sparse map that overlaps", { { FILE_AT("@/a") } }, hostile_sparse_old },
    { "a sparse map beyond the end",
      { { FILE_AT("@/a"), .pax = "GNU.sparse.size=9223372036854775807\nGNU.sparse.numblocks=1\nGNU."
                                 "sparse.offset=9223372036854775000\nGNU.sparse.numbytes=4" } } },
    { "a sparse map backwards",
      { { FILE_AT("@/a"), .pax = "GNU.sparse.size=8\nGNU.sparse.map=4,4,0,4",
          .data = "evilevil" } } },
    { "a sparse map that is none",
      { { FILE_AT("@/a"), .pax = "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.realsize=99",
          .data = "99999999999999999999\n" } } },
    { "a wrong checksum", { { FILE_AT("@/a") } }, hostile_checksum_wrong },
    { "nothing but zeroes", { { FILE_AT("@/a") } }, hostile_zeroes },
    { "noise", { { FILE_AT("@/a") } }, hostile_noise },
    { "a second archive behind the end", { { FILE_AT("@/a") } }, hostile_concatenated },
    { "cut in a header", { { FILE_AT("@/a") } }, hostile_cut_header },
    { "cut in a file", { { FILE_AT("@/a") } }, hostile_cut_data },
    { "times out of all ranges",
      { { FILE_AT("@/a"), .pax = "mtime=99999999999999999999.999999999\natime=-1" } } },
    { "owners out of all ranges",
      { { FILE_AT("@/a"), .pax = "uid=-1\ngid=99999999999999999999\nuname=root" } } },

    /* ---- What a layer takes away ---- */
    { "a whiteout beneath a link", { { SYM_AT("@/l", "%") }, { FILE_AT("@/l/.wh.file") } } },
    { "an opaque folder beneath a link",
      { { SYM_AT("@/l", "%") }, { FILE_AT("@/l/.wh..wh..opq") } } },
    { "an opaque folder by a climbing link",
      { { SYM_AT("@/l", "../../victim") }, { FILE_AT("@/l/.wh..wh..opq") } } },
    { "a whiteout of ..", { { DIR_AT("@/d", 0755) }, { FILE_AT("@/d/.wh...") } } },
    { "a whiteout of . and of nothing", { { FILE_AT("@/.wh..") }, { FILE_AT("@/.wh.") } } },
    { "a whiteout with an absolute name", { { FILE_AT("%/.wh.file") } } },
    { "a whiteout by ..", { { FILE_AT("@/../../victim/.wh.file") } } },
    { "a whiteout of the top", { { FILE_AT(".wh.@") } } },
    { "a whiteout of a link", { { SYM_AT("@/l", "%") }, { FILE_AT("@/.wh.l") } } },
    { "a whiteout that is a folder", { { DIR_AT("@/.wh.l", 0755) }, { FILE_AT("@/.wh.l/new") } } },
};

const size_t hostile_count = sizeof cases / sizeof cases[0];

const char *hostile_title(size_t index)
{
    return cases[index].title;
}

size_t hostile_build(size_t index, const struct hostile_place *place,
                     uint8_t buffer[HOSTILE_BYTES_MAX])
{
    const struct hostile_case *row = &cases[index];
    struct hostile_writer writer = { place, buffer, 0 };

    if (row->odd) {
        row->odd(&writer);
        return writer.bytes;
    }
    for (size_t i = 0; i < MEMBERS_MAX && row->members[i].name; i++)
        hostile_put(&writer, &row->members[i]);
    hostile_put_end(&writer);
    return writer.bytes;
}

const char *hostile_member_name(size_t index, size_t member, const struct hostile_place *place,
                                char *text, size_t text_bytes)
{
    const struct hostile_case *row = &cases[index];

    if (member >= MEMBERS_MAX || !row->members[member].name)
        return NULL;
    return hostile_expand(place, row->members[member].name, text, text_bytes);
}
