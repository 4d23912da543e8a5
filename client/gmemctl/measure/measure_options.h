/* SPDX-License-Identifier: Apache-2.0 */
/* The words of `gmemctl measure`, and what they say together. */
#ifndef MEASURE_OPTIONS_H
#define MEASURE_OPTIONS_H

#include "gm_guest.h"
#include "gmemctl.h"

struct measure_options {
	enum gm_launch_kind kind;
	const char *firmware; /* path */
	const char *pages;    /* path, "-" */
	const char *diff;     /* path; NULL: none */
	const char *plan;     /* folder to write a plan to; NULL: none */
	const char *kernel;
	const char *initrd;
	const char *append;
	const char *svsm;
	unsigned n_threads;
	struct gm_guest guest; /* all of it but the files */
	uint64_t rdx;
	uint8_t seed[GM_SHA384_SIZE];
};

/* CTL_OK; CTL_USAGE and -1 (help was shown) end the command. */
int measure_options_parse(struct ctl *ctl, int argc, char **argv,
			  struct measure_options *ret_options);

#endif
