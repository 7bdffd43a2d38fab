/* SPDX-License-Identifier: Apache-2.0 */
/* The archives of the table that no row of members can spell. */
#ifndef VOLT_TESTS_HOSTILE_ODD_H
#define VOLT_TESTS_HOSTILE_ODD_H

#include "hostile_write.h"

typedef void (*hostile_odd)(struct hostile_writer *writer);

void hostile_long_absolute(struct hostile_writer *writer);
void hostile_long_dots(struct hostile_writer *writer);
void hostile_long_nul(struct hostile_writer *writer);
void hostile_long_endless(struct hostile_writer *writer);
void hostile_long_component(struct hostile_writer *writer);
void hostile_long_path(struct hostile_writer *writer);
void hostile_long_alone(struct hostile_writer *writer);
void hostile_long_row(struct hostile_writer *writer);
void hostile_long_link(struct hostile_writer *writer);
void hostile_deep(struct hostile_writer *writer);
void hostile_deeper(struct hostile_writer *writer);
void hostile_pax_row(struct hostile_writer *writer);
void hostile_pax_lies(struct hostile_writer *writer);
void hostile_pax_endless(struct hostile_writer *writer);
void hostile_pax_nul(struct hostile_writer *writer);
void hostile_size_huge(struct hostile_writer *writer);
void hostile_size_negative(struct hostile_writer *writer);
void hostile_smuggle(struct hostile_writer *writer);
void hostile_smuggle_pax(struct hostile_writer *writer);
void hostile_sparse_old(struct hostile_writer *writer);
void hostile_checksum_wrong(struct hostile_writer *writer);
void hostile_zeroes(struct hostile_writer *writer);
void hostile_noise(struct hostile_writer *writer);
void hostile_concatenated(struct hostile_writer *writer);
void hostile_cut_header(struct hostile_writer *writer);
void hostile_cut_data(struct hostile_writer *writer);

#endif
