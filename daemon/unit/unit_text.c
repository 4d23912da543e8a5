/* SPDX-License-Identifier: Apache-2.0 */
#include "unit_text.h"

#include <stdio.h>
#include <string.h>

#define UTF8_BOM "\xef\xbb\xbf"

struct reader {
	const char *at;
	const char *end;
	unsigned line; /* number of the line that @at is on */
	bool has_section;
	char section[GM_UNIT_LINE_MAX + 1];

	/* The logical line: what is left of its lines when comments and continuations are. */
	unsigned first_line;
	size_t length;
	bool too_long;
	char text[GM_UNIT_LINE_MAX + 1];
};

struct gm_unit_quote gm_unit_quote(const char *text)
{
	struct gm_unit_quote quote = { .text = "" };
	size_t length = strlen(text);
	size_t room = sizeof(quote.text) - 1;
	size_t shown = length <= room ? length : room - strlen("...");

	for (size_t i = 0; i < shown; i++) {
		char shown_as = '?';

		if (text[i] >= ' ' && text[i] <= '~')
			shown_as = text[i];
		quote.text[i] = shown_as;
	}
	if (shown < length)
		memcpy(quote.text + shown, "...", strlen("..."));
	return quote;
}

int gm_unit_fault_at(struct gm_unit_fault *fault, unsigned line, const char *key,
		     const char *reason)
{
	fault->line = line;
	snprintf(fault->key, sizeof(fault->key), "%s", gm_unit_quote(key).text);
	snprintf(fault->reason, sizeof(fault->reason), "%s", reason);
	return GM_INVALID;
}

/* Cuts blanks off both ends, in place. */
static char *strip(char *text)
{
	size_t length;

	text += strspn(text, GM_UNIT_BLANKS);
	length = strlen(text);
	while (length > 0 && strchr(GM_UNIT_BLANKS, text[length - 1]))
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

static bool is_line_end(char byte)
{
	return byte == '\n' || byte == '\r';
}

/*
 * Takes the next line off the text, without the blanks that it starts with. CR, LF and the two in
 * either order are one line's end (read_line_full() in systemd's src/basic/fileio.c).
 */
static const char *take_line(struct reader *reader, size_t *ret_length)
{
	const char *line = reader->at;
	const char *end = line;

	while (end < reader->end && !is_line_end(*end))
		end++;
	reader->at = end;
	if (reader->at < reader->end)
		reader->at++;
	if (reader->at < reader->end && is_line_end(*reader->at) && *reader->at != *end)
		reader->at++;
	reader->line++;
	while (line < end && strchr(GM_UNIT_BLANKS, *line))
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

static int give_header(struct reader *reader, const char *text, gm_unit_line_fn fn, void *arg,
		       struct gm_unit_fault *fault)
{
	const struct gm_unit_line line = { .section = reader->section,
					   .number = reader->first_line };
	size_t length = strlen(text);

	if (reader->too_long || length < 3 || text[length - 1] != ']')
		return gm_unit_fault_at(fault, reader->first_line, "section",
					"a section header is [Name] on a line of its own");
	memcpy(reader->section, text + 1, length - 2);
	reader->section[length - 2] = '\0';
	reader->has_section = true;
	return fn(arg, &line);
}

static int give_line(struct reader *reader, char *text, gm_unit_line_fn fn, void *arg)
{
	struct gm_unit_line line = { .section = reader->has_section ? reader->section : NULL,
				     .number = reader->first_line,
				     .too_long = reader->too_long };
	char *equals = strchr(text, '=');

	if (equals) {
		*equals = '\0';
		line.value = strip(equals + 1);
		text = strip(text);
	}
	line.key = text;
	return fn(arg, &line);
}

static int check_bytes(const char *text, size_t length, struct gm_unit_fault *fault)
{
	const char *nul = memchr(text, '\0', length);
	unsigned line = 1;
	char reason[64];

	if (length > GM_UNIT_TEXT_MAX) {
		snprintf(reason, sizeof(reason), "larger than %d bytes", GM_UNIT_TEXT_MAX);
		return gm_unit_fault_at(fault, 1, "file", reason);
	}
	if (!nul)
		return 0;
	for (; text < nul; text++)
		if (*text == '\n')
			line++;
	return gm_unit_fault_at(fault, line, "file", "has a NUL byte: not a text");
}

int gm_unit_text_read(const char *text, size_t length, gm_unit_line_fn fn, void *arg,
		      struct gm_unit_fault *ret_fault)
{
	struct reader reader = { .at = text, .end = text + length, .line = 1 };
	int r;

	r = check_bytes(text, length, ret_fault);
	if (r)
		return r;
	if (length >= strlen(UTF8_BOM) && memcmp(text, UTF8_BOM, strlen(UTF8_BOM)) == 0)
		reader.at += strlen(UTF8_BOM);

	while (read_logical(&reader)) {
		char *line = strip(reader.text);

		if (!*line)
			continue;
		r = *line == '[' ? give_header(&reader, line, fn, arg, ret_fault)
				 : give_line(&reader, line, fn, arg);
		if (r)
			return r;
	}
	return 0;
}
