/* SPDX-License-Identifier: Apache-2.0 */
/* The agent of fake_vmm's VMs where it is a function's: its service is not there, but answers. */
#ifndef VOLT_TESTS_FAKE_FUNCTION_H
#define VOLT_TESTS_FAKE_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/control.h"

/* Sends one frame of the agent's protocol. */
void say_frame(int fd, uint8_t type, const void *payload, uint32_t bytes);
/* The answer to one who waits for the service; ends: it did not start. */
void fake_service(int fd, bool ends);
/* A CALL has come in data (room of it), and behind it perhaps a piece of the request already. */
void fake_call(int fd, char *data, size_t room, size_t bytes, bool ends);
/* A CALL of a service at its doorbell: answers, unless the request is a word that says otherwise. */
void fake_bell(int bell_fd, const struct control_msg *call, const char *request);
/* More has come on such a connection: of a request, or an event. */
void fake_input(int fd, const char *data, size_t bytes);

#endif
