/* SPDX-License-Identifier: Apache-2.0 */
#include "conf.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conf_private.h"

#define UTF8_BOM "\xef\xbb\xbf"

enum section {
	SECTION_NONE, /* before the first header */
	SECTION_OURS,
	SECTION_OTHER, /* another reader's: whatever it holds is skipped */
};

struct reader {
	const char *at;
	const char *end;
	unsigned line; /* number of the line that @at is on */
	enum section section;
	struct gm_conf conf;
	struct gm_conf_fault *fault;

	/* The logical line: what is left of its lines when comments and continuations are. */
	unsigned first_line;
	size_t length;
	bool too_long;
	char text[GM_CONF_LINE_MAX + 1];
};

static int fault_at(struct reader *reader, unsigned line, const char *key, const char *reason)
{
	struct gm_conf_fault *fault = reader->fault;

	fault->line = line;
	snprintf(fault->key, sizeof(fault->key), "%s", gm_value_quote(key).text);
	snprintf(fault->reason, sizeof(fault->reason), "%s", reason);
	return GM_INVALID;
}

/* Cuts blanks off both ends, in place. */
static char *strip(char *text)
{
	size_t length;

	text += strspn(text, GM_VALUE_BLANKS);
	length = strlen(text);
	while (length > 0 && strchr(GM_VALUE_BLANKS, text[length - 1]))
		length--;
	text[length] = '\0';
	return text;
}

static void append(struct reader *reader, const char *piece, size_t length)
{
	if (length > sizeof(reader->text) - 1 - reader->length) {
		reader->too_long = true;
		return;
	}
	memcpy(reader->text + reader->length, piece, length);
	reader->length += length;
	reader->text[reader->length] = '\0';
}

/* An odd number of backslashes at the end: the last one is not itself escaped. */
static bool is_continued(const char *piece, size_t length)
{
	size_t backslashes = 0;

	while (backslashes < length && piece[length - 1 - backslashes] == '\\')
		backslashes++;
	return backslashes % 2 == 1;
}

/* Takes the next line off the text, without the blanks that it starts with. */
static const char *take_line(struct reader *reader, size_t *ret_length)
{
	const char *line = reader->at;
	const char *newline = memchr(line, '\n', (size_t)(reader->end - line));
	const char *end = newline ? newline : reader->end;

	reader->at = newline ? newline + 1 : end;
	reader->line++;
	while (line < end && strchr(GM_VALUE_BLANKS, *line))
		line++;
	*ret_length = (size_t)(end - line);
	return line;
}

/* Joins the next logical line in @text. False at the end of the file. */
static bool read_logical(struct reader *reader)
{
	bool continued = false;

	reader->length = 0;
	reader->text[0] = '\0';
	reader->too_long = false;

	while (reader->at < reader->end) {
		unsigned number = reader->line;
		size_t length;
		const char *line = take_line(reader, &length);

		/* Comment lines are dropped, also between the lines of a continued one. */
		if (length > 0 && (*line == '#' || *line == ';'))
			continue;
		if (length == 0 && !continued)
			continue;
		if (!continued)
			reader->first_line = number;

		continued = is_continued(line, length);
		append(reader, line, continued ? length - 1 : length);
		if (!continued)
			return true;
		append(reader, " ", 1);
	}
	return continued;
}

static int parse_header(struct reader *reader, char *text)
{
	size_t length = strlen(text);
	const char *name = text + 1;

	if (reader->too_long || length < 3 || text[length - 1] != ']')
		return fault_at(reader, reader->first_line, "section",
				"a section header is [Name] on a line of its own");
	text[length - 1] = '\0';

	if (strcmp(name, GM_CONF_SECTION) == 0) {
		reader->section = SECTION_OURS;
		return 0;
	}
	if (strcasecmp(name, GM_CONF_SECTION) == 0)
		return fault_at(reader, reader->first_line, "section",
				"the name is spelt [" GM_CONF_SECTION "]");
	reader->section = SECTION_OTHER;
	return 0;
}

static int parse_assignment(struct reader *reader, char *text)
{
	struct gm_value_fault why = { .reason = "" };
	char *equals = strchr(text, '=');
	char *key;

	if (reader->section == SECTION_OTHER)
		return 0;
	if (!equals)
		return fault_at(reader, reader->first_line, text, "not an assignment: KEY=VALUE");

	*equals = '\0';
	key = strip(text);
	if (!*key)
		return fault_at(reader, reader->first_line, "=", "no key before the =");
	if (reader->section == SECTION_NONE)
		return fault_at(reader, reader->first_line, key,
				"outside of a section: [" GM_CONF_SECTION "] comes first");
	if (reader->too_long) {
		gm_value_bad(&why, "longer than %d bytes", GM_CONF_LINE_MAX);
		return fault_at(reader, reader->first_line, key, why.reason);
	}
	if (gm_conf_assign(&reader->conf, key, strip(equals + 1), &why) != 0)
		return fault_at(reader, reader->first_line, key, why.reason);
	return 0;
}

static int check_bytes(struct reader *reader, const char *text, size_t length)
{
	const char *nul = memchr(text, '\0', length);
	unsigned line = 1;
	struct gm_value_fault why = { .reason = "" };

	if (length > GM_CONF_TEXT_MAX) {
		gm_value_bad(&why, "larger than %d bytes", GM_CONF_TEXT_MAX);
		return fault_at(reader, 1, "file", why.reason);
	}
	if (!nul)
		return 0;
	for (; text < nul; text++)
		if (*text == '\n')
			line++;
	return fault_at(reader, line, "file", "has a NUL byte: not a text");
}

int gm_conf_parse(const char *text, size_t length, uint64_t host_memory, struct gm_policy *policy,
		  struct gm_conf_fault *ret_fault)
{
	struct reader reader = {
		.at = text,
		.end = text + length,
		.line = 1,
		.fault = ret_fault,
	};
	int r;

	r = check_bytes(&reader, text, length);
	if (r)
		return r;
	if (length >= strlen(UTF8_BOM) && memcmp(text, UTF8_BOM, strlen(UTF8_BOM)) == 0)
		reader.at += strlen(UTF8_BOM);

	gm_conf_begin(&reader.conf, policy, host_memory);
	while (read_logical(&reader)) {
		char *line = strip(reader.text);

		if (!*line)
			continue;
		r = *line == '[' ? parse_header(&reader, line) : parse_assignment(&reader, line);
		if (r)
			return r;
	}
	gm_conf_finish(&reader.conf);

	*policy = reader.conf.policy;
	return 0;
}
