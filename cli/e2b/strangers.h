/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that have made no call yet which they may make. MHD's time limit begins anew with each
 * byte; that of strangers does not, so whoever has neither key nor token holds a connection for
 * SERVER_STRANGER_S at most; and an address never has more strangers than there are connections left
 * for others. */
#ifndef VOLT_CLI_E2B_STRANGERS_H
#define VOLT_CLI_E2B_STRANGERS_H

#include <sys/socket.h>

#include "e2b/server.h"

/* Whether there may be one more of that address: MHD's MHD_AcceptPolicyCallback. */
enum MHD_Result strangers_allow(void *server, const struct sockaddr *address, socklen_t bytes);
/* Starts the thread that closes them in time. 0 or -errno. */
int strangers_watch(struct server *server, struct err *err);
void strangers_add(struct server *server, struct MHD_Connection *mhd);
/* It is none any more, or is about to be closed. Fine if it is none. */
void strangers_forget(struct server *server, const struct MHD_Connection *mhd);

#endif
