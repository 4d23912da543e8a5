/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a unit file, taken apart by systemd's rules (systemd.syntax(7), config_parse() in its
 * src/shared/conf-parser.c).
 *
 * Pure: text in, lines out. Lines end in LF, CR or both; a trailing backslash continues a line,
 * over comment lines too; # and ; start a comment line. What a line means is the caller's.
 */
#ifndef GM_UNIT_TEXT_H
#define GM_UNIT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "gm_num.h"
#include "gm_verdict.h"

/* Largest file, bytes: 256 KiB. */
#define GM_UNIT_TEXT_MAX 262144

/* Longest assignment, bytes, with all its continuation lines. */
#define GM_UNIT_LINE_MAX 4096

#define GM_UNIT_BLANKS " \t\r"

/* Printable ASCII, never empty: made for `FILE:LINE: KEY: REASON`. */
struct gm_unit_fault {
	unsigned line; /* 1-based, where the assignment starts */
	char key[64];  /* what is at fault, where it is not a key: "section", "file" */
	char reason[GM_TEXT_MAX];
};

/* Text from a file, made fit for a message: printable ASCII, cut. */
struct gm_unit_quote {
	char text[48];
};
struct gm_unit_quote gm_unit_quote(const char *text);

/* Fills @fault; always GM_INVALID. */
int gm_unit_fault_at(struct gm_unit_fault *fault, unsigned line, const char *key,
		     const char *reason);

/* One logical line that is neither blank nor a comment. */
struct gm_unit_line {
	const char *section; /* NULL: before the first header */
	unsigned number;     /* of its first line */
	bool too_long;	     /* over GM_UNIT_LINE_MAX: @key and @value are cut */
	const char *key;     /* NULL: a header. The whole line where @value is NULL; may be "" */
	char *value;	     /* NULL: there is no '='. May be taken apart in place */
};

/* 0 to go on; anything else ends the reading with it. */
typedef int (*gm_unit_line_fn)(void *arg, const struct gm_unit_line *line);

/*
 * Calls @fn for each line, in order. 0; what @fn returned; or GM_INVALID with *ret_fault set for
 * what is no text, is too large, or has a broken section header. Sections are read until then.
 */
GM_WARN_UNUSED int gm_unit_text_read(const char *text, size_t length, gm_unit_line_fn fn, void *arg,
				     struct gm_unit_fault *ret_fault);

#endif
