/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of units (systemd.unit(5)): prefix, instance and type, their parts and their escapes.
 * Pure.
 */
#ifndef GM_UNIT_NAMES_H
#define GM_UNIT_NAMES_H

#include <stdbool.h>

#include "gm_num.h"

#define GM_UNIT_NAME_SIZE 256 /* longest name, UNIT_NAME_MAX of systemd, and its NUL */

enum gm_unit_form {
	GM_UNIT_INVALID,
	GM_UNIT_PLAIN,	  /* gmemd.service */
	GM_UNIT_TEMPLATE, /* gmemd@.socket */
	GM_UNIT_INSTANCE, /* gmemd@acme.socket */
};

/* A name taken apart. */
struct gm_unit_name {
	enum gm_unit_form form;
	char id[GM_UNIT_NAME_SIZE];
	char prefix[GM_UNIT_NAME_SIZE];
	char instance[GM_UNIT_NAME_SIZE]; /* "" for a plain unit and a template */
	char type[16];			  /* "socket" */
};

/* The form; @ret_name is written unless that is GM_UNIT_INVALID. */
enum gm_unit_form gm_unit_name_parse(const char *text, struct gm_unit_name *ret_name);

/* The unit of the same prefix and type with another instance; "": the template. False: too long. */
bool gm_unit_name_with(const struct gm_unit_name *name, const char *instance,
		       char ret_id[GM_UNIT_NAME_SIZE]);

/*
 * The next less specific name by its dashes: "a-b-c.socket" has "a-b-.socket", and that
 * "a-.socket". An instance keeps its instance, a template has the plain unit (unit_file_find_dirs()
 * in systemd's src/shared/dropin.c). False: there is none.
 */
bool gm_unit_name_shorten(const struct gm_unit_name *name, char ret_id[GM_UNIT_NAME_SIZE]);

/* "a\x2db-c" is "a-b/c". False where an escape is broken or is a NUL. */
bool gm_unit_unescape(const char *text, char ret_text[GM_UNIT_NAME_SIZE]);

#endif
