/* SPDX-License-Identifier: Apache-2.0 */
/* The API's socket at the path that poold is told. Start-up only. */
#ifndef VOLT_POOLD_LISTEN_H
#define VOLT_POOLD_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/unix_listen.h"

#define LISTEN_BACKLOG 1024
#define LISTEN_MODE 0660

/* Takes the socket that the service manager brought, or that of an earlier poold (inherited_fd, NULL:
 * none; taken or closed) if it is the one at path, or listens at path, group's ("": unchanged);
 * refuses a path where another poold listens. To be closed by unix_listener_close. 0 or -errno. */
int listen_open(struct unix_listener *ret_listener, const char *path, const char *group,
                int *inherited_fd, struct err *err);

/* Of ADDR:PORT, where ADDR is a number, IPv6's in brackets: an address to listen at, and whether only
 * this host's own programs reach that. 0 or -EINVAL with a sentence. */
int listen_address_parse(const char *text, struct sockaddr_storage *ret_address,
                         socklen_t *ret_bytes, bool *ret_loopback, struct err *err);
/* Listens there, without a path; ret_text (room: 64): at which port (0: any that is free). 0 or -errno. */
int listen_tcp(struct unix_listener *ret_listener, const char *text, char ret_text[64],
               struct err *err);

#endif
