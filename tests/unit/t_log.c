/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: one line each, of bounded length, that no value can break out of.
 */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gm_fd.h"
#include "log.h"
#include "log_journal.h"

#define LINE_MAX_BYTES 1024

static char captured[4 * LINE_MAX_BYTES];

struct capture {
	int saved;
	int ends[2];
};

static struct capture capture_begin(void)
{
	struct capture capture;

	fflush(stderr);
	capture.saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(capture.ends), 0);
	assert_int_equal(dup2(capture.ends[1], STDERR_FILENO), STDERR_FILENO);
	return capture;
}

static const char *capture_end(struct capture *capture)
{
	ssize_t n;

	assert_int_equal(dup2(capture->saved, STDERR_FILENO), STDERR_FILENO);
	gm_fd_close(capture->saved);
	gm_fd_close(capture->ends[1]);
	n = read(capture->ends[0], captured, sizeof(captured) - 1);
	gm_fd_close(capture->ends[0]);
	assert_true(n >= 0);
	captured[n] = '\0';
	return captured;
}

static const char *line_of(const char *text, const struct gm_log_field *fields, size_t n_fields)
{
	struct capture capture = capture_begin();

	gm_log_fields(LOG_INFO, fields, n_fields, "%s", text);
	return capture_end(&capture);
}

static void a_line_has_text_and_fields(void **state)
{
	const struct gm_log_field fields[] = { { "TENANT", "acme" }, { "LIMIT", "4096" } };

	(void)state;
	assert_string_equal(line_of("over the limit", fields, 2),
			    "gmemd: over the limit TENANT=acme LIMIT=4096\n");
}

static void no_value_can_break_out_of_its_line(void **state)
{
	const struct gm_log_field fields[] = {
		{ "A", "x\ngmemd: forged" }, { "B", "\x1b[2J" },     { "C", "two words" },
		{ "D", "say \"x\"" },	     { "E", "back\\slash" }, { "F", "" },
	};

	(void)state;
	assert_string_equal(line_of("text\r\x7f", fields, 6),
			    "gmemd: text\\x0d\\x7f A=\"x\\x0agmemd: forged\" B=\\x1b[2J "
			    "C=\"two words\" D=\"say \\\"x\\\"\" E=back\\\\slash F=\"\"\n");
	/* C1 controls in UTF-8 move cursors, too. */
	assert_string_equal(line_of("\xc2\x9b", NULL, 0), "gmemd: \\xc2\\x9b\n");
}

static void a_line_is_cut_and_not_overflowed(void **state)
{
	char value[3 * LINE_MAX_BYTES];
	struct gm_log_field fields[32];
	const char *line;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (size_t i = 0; i < 32; i++)
		fields[i] = (struct gm_log_field){ "F", value };
	line = line_of(value, fields, 32);
	assert_int_equal(strlen(line), LINE_MAX_BYTES);
	assert_int_equal(line[LINE_MAX_BYTES - 1], '\n');
	assert_ptr_equal(strchr(line, '\n'), line + LINE_MAX_BYTES - 1);
}

static void levels_above_the_chosen_one_are_not_written(void **state)
{
	struct capture capture = capture_begin();

	(void)state;
	gm_log_open(LOG_WARNING);
	gm_log(LOG_INFO, "not this");
	gm_log(LOG_WARNING, "this %d", 1);
	assert_string_equal(capture_end(&capture), "gmemd: this 1\n");
	assert_false(gm_log_enabled(LOG_INFO));
	assert_true(gm_log_enabled(LOG_ERR));
	gm_log_open(LOG_INFO);
}

static void errno_survives_a_log_line(void **state)
{
	struct capture capture = capture_begin();
	int after;

	(void)state;
	errno = ENOSPC;
	gm_log(LOG_INFO, "text");
	after = errno;
	(void)capture_end(&capture);
	assert_int_equal(after, ENOSPC);
}

static void another_processs_journal_stream_is_not_ours(void **state)
{
	struct capture capture;

	(void)state;
	/* Inherited from a parent whose stderr was the journal; this process writes to a pipe. */
	setenv("JOURNAL_STREAM", "1:2", 1);
	gm_log_open(LOG_INFO);
	capture = capture_begin();
	gm_log(LOG_INFO, "to stderr");
	assert_string_equal(capture_end(&capture), "gmemd: to stderr\n");
	unsetenv("JOURNAL_STREAM");
}

/* A socket as the journal has one, and where it is. */
static int make_journal(char path[64])
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(path, 64, "/tmp/t_log.%d", (int)getpid());
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static const char *receive(int fd)
{
	static char bytes[8192];
	ssize_t n = recv(fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT);

	bytes[n > 0 ? n : 0] = '\0';
	return bytes;
}

/* In a child, since a process has one log. Its stderr is the stream that it was told of. */
static int log_to_journal(const char *path)
{
	static char value[10000];
	const struct gm_log_field fields[] = {
		{ "TENANT", "a\nb=c" },
		{ "LONG", memset(value, 'x', sizeof(value) - 1) },
		{ "RULE", "size" },
	};
	char stream[64];
	struct stat st;

	if (fstat(STDERR_FILENO, &st) < 0)
		return 1;
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	gm_log_open(LOG_INFO);
	if (gm_log_journal_open(path) < 0)
		return 1;
	gm_log_fields(LOG_NOTICE, fields, 3, "a test of gmemd's log");
	return 0;
}

static void a_line_for_the_journal_is_not_written_to_stderr_too(void **state)
{
	struct capture capture = capture_begin();
	char path[64];
	int status = -1, fd = make_journal(path);
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		_exit(log_to_journal(path));
	(void)waitpid(pid, &status, 0);
	assert_string_equal(capture_end(&capture), "");
	assert_int_equal(status, 0);
	/* No value can add a field, and one without room takes none from the others. */
	assert_string_equal(receive(fd), "PRIORITY=5\nSYSLOG_IDENTIFIER=gmemd\n"
					 "MESSAGE=a test of gmemd's log\n"
					 "TENANT=a\\x0ab=c\nRULE=size\n");
	gm_fd_close(fd);
	(void)unlink(path);
}

static void error_numbers_have_words(void **state)
{
	(void)state;
	assert_string_equal(gm_strerror(EACCES), "Permission denied");
	assert_string_equal(gm_strerror(-EACCES), "Permission denied");
	assert_string_equal(gm_strerror(123456), "Unknown error");
}

static void a_limit_lets_a_burst_through_and_counts_the_rest(void **state)
{
	struct gm_log_limit limit = { .interval_ms = 1000, .burst = 2 };
	uint32_t held_back = 99;

	(void)state;
	assert_true(gm_log_limit_pass(&limit, 5000, &held_back));
	assert_int_equal(held_back, 0);
	assert_true(gm_log_limit_pass(&limit, 5001, &held_back));
	for (unsigned i = 0; i < 7; i++)
		assert_false(gm_log_limit_pass(&limit, 5999, &held_back));
	assert_true(gm_log_limit_pass(&limit, 6000, &held_back));
	assert_int_equal(held_back, 7);
	assert_true(gm_log_limit_pass(&limit, 6001, &held_back));
	assert_int_equal(held_back, 0);
	assert_false(gm_log_limit_pass(&limit, 6002, &held_back));
}

static void what_was_held_back_is_told_once_the_interval_is_over(void **state)
{
	struct gm_log_limit limit = { .interval_ms = 1000, .burst = 1 };
	uint32_t held_back;

	(void)state;
	assert_true(gm_log_limit_pass(&limit, 5000, &held_back));
	assert_false(gm_log_limit_pass(&limit, 5001, &held_back));
	assert_int_equal(gm_log_limit_take(&limit, 5999), 0);
	assert_int_equal(gm_log_limit_take(&limit, 6000), 1);
	assert_int_equal(gm_log_limit_take(&limit, 7000), 0);
}

static void a_message_id_is_for_the_journal_alone(void **state)
{
	const struct gm_log_field fields[] = { { GM_LOG_MESSAGE_ID, "0" }, { "TENANT", "acme" } };

	(void)state;
	assert_string_equal(line_of("text", fields, 2), "gmemd: text TENANT=acme\n");
}

/* In a child: what gm_log_open does to stderr stays. The alarm ends it where a line waits. */
static int log_to_nobody(const int ends[2])
{
	alarm(5);
	dup2(ends[1], STDERR_FILENO);
	gm_log_open(LOG_INFO);
	for (unsigned i = 0; i < 10000; i++)
		gm_log(LOG_INFO, "a line that nobody reads: %u", i);
	return fcntl(ends[1], F_GETFL) & O_NONBLOCK ? 1 : 0;
}

static int status_of(pid_t pid)
{
	int status = -1;

	(void)waitpid(pid, &status, 0);
	return status;
}

static void a_pipe_that_nobody_reads_stops_nobody_and_keeps_its_flags(void **state)
{
	int ends[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0)
		_exit(log_to_nobody(ends));
	assert_int_equal(status_of(pid), 0);
	gm_fd_close(ends[0]);
	gm_fd_close(ends[1]);
}

static int log_to_a_full_socket(const int ends[2])
{
	char bytes[4096] = { 0 };

	alarm(5);
	dup2(ends[1], STDERR_FILENO);
	while (send(ends[1], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		continue;
	for (unsigned i = 0; i < 3; i++)
		gm_log(LOG_INFO, "a line that nobody reads: %u", i);
	while (recv(ends[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		continue;
	gm_log(LOG_INFO, "a line that somebody reads");
	bytes[recv(ends[0], bytes, sizeof(bytes) - 1, MSG_DONTWAIT)] = '\0';
	return strcmp(bytes, "gmemd: lines lost here because nobody read them: 3\n");
}

static void lines_that_were_lost_are_counted_and_said(void **state)
{
	int ends[2];
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
	pid = fork();
	if (pid == 0)
		_exit(log_to_a_full_socket(ends));
	assert_int_equal(status_of(pid), 0);
	gm_fd_close(ends[0]);
	gm_fd_close(ends[1]);
}

static int log_to_a_full_journal(const char *path, int fd)
{
	static const char entry[] = "MESSAGE=a test\n";
	unsigned n_written = 10000, n_read = 0;
	char expected[256];

	alarm(10);
	if (gm_log_journal_open(path) < 0)
		return 1;
	for (unsigned i = 0; i < n_written; i++)
		if (gm_log_journal_write(entry, strlen(entry)) != 0)
			return 2;
	while (strcmp(receive(fd), entry) == 0)
		n_read++;
	if (n_read == 0 || n_read == n_written || gm_log_journal_write(entry, strlen(entry)) != 0)
		return 3;
	snprintf(expected, sizeof(expected),
		 "PRIORITY=4\nSYSLOG_IDENTIFIER=gmemd\n"
		 "MESSAGE=lines lost here because nobody read them: %u\n",
		 n_written - n_read);
	if (strcmp(receive(fd), expected) != 0 || strcmp(receive(fd), entry) != 0)
		return 4;
	/* Where nobody is at all, the line has to go elsewhere. */
	gm_fd_close(fd);
	if (gm_log_journal_write(entry, strlen(entry)) != -ECONNREFUSED || unlink(path) < 0 ||
	    gm_log_journal_write(entry, strlen(entry)) != -ENOENT)
		return 5;
	return 0;
}

static void a_journal_that_nobody_reads_stops_nobody_and_is_told_what_it_missed(void **state)
{
	char path[64];
	int fd = make_journal(path);
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		_exit(log_to_a_full_journal(path, fd));
	gm_fd_close(fd);
	assert_int_equal(status_of(pid), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_line_has_text_and_fields),
		gm_test(no_value_can_break_out_of_its_line),
		gm_test(a_line_is_cut_and_not_overflowed),
		gm_test(levels_above_the_chosen_one_are_not_written),
		gm_test(errno_survives_a_log_line),
		gm_test(another_processs_journal_stream_is_not_ours),
		gm_test(a_line_for_the_journal_is_not_written_to_stderr_too),
		gm_test(error_numbers_have_words),
		gm_test(a_limit_lets_a_burst_through_and_counts_the_rest),
		gm_test(what_was_held_back_is_told_once_the_interval_is_over),
		gm_test(a_message_id_is_for_the_journal_alone),
		gm_test(a_pipe_that_nobody_reads_stops_nobody_and_keeps_its_flags),
		gm_test(lines_that_were_lost_are_counted_and_said),
		gm_test(a_journal_that_nobody_reads_stops_nobody_and_is_told_what_it_missed),
	};

	return gm_test_run("log", tests, GM_ARRAY_SIZE(tests));
}
