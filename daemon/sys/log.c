/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include "log_journal.h"
#include "log_stderr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_SIZE 512
#define LINE_SIZE 1024
#define FIELDS_MAX 16

/* A process has one log; set once, at start-up. */
static struct {
	int level;
	bool journal;
} state = { .level = LOG_INFO };

/* systemd.exec(5): "dev:inode" of the stream that it connected to stderr, which may be replaced. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uint64_t device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%" SCNu64 ":%" SCNu64, &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void gm_log_open(int level)
{
	state.level = level;
	state.journal = stderr_is_journal() && gm_log_journal_open(GM_LOG_JOURNAL_SOCKET) == 0;
	if (!state.journal)
		gm_log_stderr_open();
}

bool gm_log_enabled(int level)
{
	return level <= state.level;
}

struct buffer {
	char *bytes;
	size_t size; /* the last byte is kept for a newline or a NUL */
	size_t used;
};

static void put(struct buffer *buffer, char c)
{
	if (buffer->used + 1 < buffer->size)
		buffer->bytes[buffer->used++] = c;
}

/* Escapes what could end a line, move a cursor or close a quote. */
static void put_escaped(struct buffer *buffer, const char *text, bool quoted)
{
	static const char digits[] = "0123456789abcdef";

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c >= 0x7f) {
			put(buffer, '\\');
			put(buffer, 'x');
			put(buffer, digits[c >> 4]);
			put(buffer, digits[c & 15]);
			continue;
		}
		if (c == '\\' || (quoted && c == '"'))
			put(buffer, '\\');
		put(buffer, *text);
	}
}

static void put_field(struct buffer *buffer, const struct gm_log_field *field)
{
	bool quoted = field->value[0] == '\0' || strpbrk(field->value, " \"=");

	put(buffer, ' ');
	put_escaped(buffer, field->name, false);
	put(buffer, '=');
	if (quoted)
		put(buffer, '"');
	put_escaped(buffer, field->value, quoted);
	if (quoted)
		put(buffer, '"');
}

static void write_stderr(const struct gm_log_field *fields, size_t n_fields, const char *text)
{
	char bytes[LINE_SIZE];
	struct buffer line = { .bytes = bytes, .size = sizeof(bytes) };

	put_escaped(&line, "gmemd: ", false);
	put_escaped(&line, text, false);
	for (size_t i = 0; i < n_fields; i++)
		if (strcmp(fields[i].name, GM_LOG_MESSAGE_ID) != 0)
			put_field(&line, &fields[i]);
	bytes[line.used++] = '\n';
	gm_log_stderr_write(bytes, line.used);
}

/* A field that finds no room is left out: one that was cut before its '=' spoils an entry. */
static void put_journal_field(struct buffer *buffer, const char *name, const char *value)
{
	size_t before = buffer->used;

	put_escaped(buffer, name, false);
	put(buffer, '=');
	put_escaped(buffer, value, false);
	if (buffer->used + 1 < buffer->size)
		put(buffer, '\n');
	else
		buffer->used = before;
}

static int write_journal(int level, const struct gm_log_field *fields, size_t n_fields,
			 const char *text)
{
	char bytes[4 * LINE_SIZE];
	struct buffer lines = { .bytes = bytes, .size = sizeof(bytes) };
	char priority[] = { (char)('0' + level), '\0' };

	put_journal_field(&lines, "PRIORITY", priority);
	put_journal_field(&lines, "SYSLOG_IDENTIFIER", "gmemd");
	put_journal_field(&lines, "MESSAGE", text);
	for (size_t i = 0; i < n_fields; i++)
		put_journal_field(&lines, fields[i].name, fields[i].value);
	return gm_log_journal_write(bytes, lines.used);
}

static void log_va(int level, const struct gm_log_field *fields, size_t n_fields,
		   const char *format, va_list arguments) __attribute__((format(printf, 4, 0)));

static void log_va(int level, const struct gm_log_field *fields, size_t n_fields,
		   const char *format, va_list arguments)
{
	char text[TEXT_SIZE];
	int saved = errno;

	if (n_fields > FIELDS_MAX)
		n_fields = FIELDS_MAX;
	(void)vsnprintf(text, sizeof(text), format, arguments);
	if (!state.journal || write_journal(level, fields, n_fields, text) < 0)
		write_stderr(fields, n_fields, text);
	errno = saved;
}

void gm_log(int level, const char *format, ...)
{
	va_list arguments;

	if (!gm_log_enabled(level))
		return;
	va_start(arguments, format);
	log_va(level, NULL, 0, format, arguments);
	va_end(arguments);
}

void gm_log_fields(int level, const struct gm_log_field *fields, size_t n_fields,
		   const char *format, ...)
{
	va_list arguments;

	if (!gm_log_enabled(level))
		return;
	va_start(arguments, format);
	log_va(level, fields, n_fields, format, arguments);
	va_end(arguments);
}

const char *gm_strerror(int error)
{
	const char *text = strerrordesc_np(error < 0 ? -error : error);

	return text ? text : "Unknown error";
}

bool gm_log_limit_pass(struct gm_log_limit *limit, uint64_t now_ms, uint32_t *ret_held_back)
{
	uint32_t held_back = 0;

	if (now_ms - limit->window_start_ms >= limit->interval_ms) {
		held_back = limit->held_back;
		limit->held_back = 0;
		limit->passed = 0;
		limit->window_start_ms = now_ms;
	}
	if (limit->passed >= limit->burst) {
		limit->held_back++;
		return false;
	}
	limit->passed++;
	*ret_held_back = held_back;
	return true;
}

uint32_t gm_log_limit_take(struct gm_log_limit *limit, uint64_t now_ms)
{
	uint32_t held_back = limit->held_back;

	if (held_back == 0 || now_ms - limit->window_start_ms < limit->interval_ms)
		return 0;
	limit->held_back = 0;
	return held_back;
}
