/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files: the [X-Gmemd] section of a unit-style file, with systemd's value syntax.
 *
 *   [X-Gmemd]
 *   Kinds=memfd guest-memfd
 *   MemoryMax=16G
 *   HugePages=2M:8G 1G
 *   PersistentTTL=10min
 *
 * Pure: text in, policy out. The syntax is systemd's: other sections are skipped; lines end in LF;
 * a trailing backslash continues a line, over comment lines too; # and ; start a comment line; an
 * empty assignment resets the key to its default; a list key assigned twice appends, any other
 * key takes the last value. A key that is not known is a fault: a misspelt limit is not no limit.
 */
#ifndef GM_CONF_H
#define GM_CONF_H

#include "policy.h"

/* Largest policy file, bytes: 256 KiB. */
#define GM_CONF_TEXT_MAX 262144

/* Longest assignment, bytes, with all its continuation lines. */
#define GM_CONF_LINE_MAX 4096

/* Printable ASCII, never empty: made for `FILE:LINE: KEY: REASON`. */
struct gm_conf_fault {
	unsigned line; /* 1-based, where the assignment starts */
	char key[64];  /* what is at fault, where it is not a key: "section", "file" */
	char reason[GM_TEXT_MAX];
};

/*
 * Applies the @length bytes of @text over @policy, which holds the defaults. @host_memory is what
 * percentages are of. RegionMax= follows MemoryMax= unless one of the two says otherwise. 0, or
 * GM_INVALID with *ret_fault set and @policy untouched: all or nothing.
 */
GM_WARN_UNUSED int gm_conf_parse(const char *text, size_t length, uint64_t host_memory,
				 struct gm_policy *policy, struct gm_conf_fault *ret_fault);

#endif
