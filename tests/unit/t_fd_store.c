/* SPDX-License-Identifier: Apache-2.0 */
/* What is said to the keeper of the fd store, and what happens while it does not listen. */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fd_store.h"
#include "gm_fd.h"
#include "gm_num.h"

/* The keeper's end, under @text as $NOTIFY_SOCKET has it. */
static int keeper_at(const char *text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, text, strlen(text));
	if (text[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
	setenv("NOTIFY_SOCKET", text, 1);
	return fd;
}

static int keeper_new(void)
{
	char text[64];

	snprintf(text, sizeof(text), "@gmemd-test-store-%d", (int)getpid());
	return keeper_at(text);
}

/* Takes one message; returns the fd that came with it, or -1. */
static int hear(int keeper, char *text, size_t size)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec buffer = { .iov_base = text, .iov_len = size - 1 };
	struct msghdr packet = { .msg_iov = &buffer,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	ssize_t length = recvmsg(keeper, &packet, MSG_CMSG_CLOEXEC);
	int fd = -1;

	assert_true(length >= 0);
	text[length] = '\0';
	if (packet.msg_controllen > 0)
		memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static void a_pushed_fd_arrives_under_its_name_and_stays_ours(void **state)
{
	struct gm_fd_store store;
	int keeper = keeper_new(), memory = memfd_create("test", MFD_CLOEXEC), copy;
	struct stat pushed, heard;
	char text[256];

	(void)state;
	assert_int_equal(gm_fd_store_open(&store), 0);
	assert_int_equal(gm_fd_store_push(&store, "+r1f", memory), 0);
	copy = hear(keeper, text, sizeof(text));
	assert_string_equal(text, "FDSTORE=1\nFDNAME=+r1f\nFDPOLL=0");
	assert_int_equal(fstat(memory, &pushed), 0);
	assert_int_equal(fstat(copy, &heard), 0);
	assert_true(pushed.st_ino == heard.st_ino && pushed.st_dev == heard.st_dev);
	gm_fd_close(copy);
	gm_fd_close(memory);
	gm_fd_store_close(&store);
	gm_fd_close(keeper);
}

static void a_removal_names_what_goes(void **state)
{
	struct gm_fd_store store;
	int keeper = keeper_new();
	char text[256];

	(void)state;
	assert_int_equal(gm_fd_store_open(&store), 0);
	assert_int_equal(gm_fd_store_remove(&store, "+p0"), 0);
	assert_int_equal(hear(keeper, text, sizeof(text)), -1);
	assert_string_equal(text, "FDSTOREREMOVE=1\nFDNAME=+p0");
	gm_fd_store_close(&store);
	gm_fd_close(keeper);
}

static void a_keeper_may_be_at_a_path(void **state)
{
	char folder[] = "/tmp/gmemd-test-XXXXXX", path[64], text[256];
	struct gm_fd_store store;
	int keeper;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/notify", folder);
	keeper = keeper_at(path);
	assert_int_equal(gm_fd_store_open(&store), 0);
	assert_int_equal(gm_fd_store_remove(&store, "+state"), 0);
	assert_int_equal(hear(keeper, text, sizeof(text)), -1);
	gm_fd_store_close(&store);
	gm_fd_close(keeper);
	unlink(path);
	rmdir(folder);
}

static void without_a_keeper_there_is_no_store(void **state)
{
	struct gm_fd_store store = GM_FD_STORE_NULL;

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(gm_fd_store_open(&store), -ENOENT);
	assert_int_equal(gm_fd_store_remove(&store, "+state"), -ENOTCONN);
	setenv("NOTIFY_SOCKET", "neither", 1);
	assert_int_equal(gm_fd_store_open(&store), -EINVAL);
	setenv("NOTIFY_SOCKET", "@gmemd-test-nobody-is-here", 1);
	assert_int_equal(gm_fd_store_open(&store), -ECONNREFUSED);
	gm_fd_store_close(&store);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Until the keeper's queue is full; how many fitted. */
static unsigned fill(struct gm_fd_store *store)
{
	unsigned n = 0;

	while (gm_fd_store_remove(store, "+r0") == 0)
		assert_true(n++ < 100000);
	return n;
}

/* As while systemd starts itself anew. */
static void a_keeper_that_is_away_for_a_moment_is_waited_for(void **state)
{
	struct gm_fd_store store;
	int keeper = keeper_new();
	char text[256];
	pid_t child;

	(void)state;
	assert_int_equal(gm_fd_store_open(&store), 0);
	assert_true(fill(&store) > 0);
	hear(keeper, text, sizeof(text));
	/* This one has not been waited for yet. */
	gm_fd_store_close(&store);
	assert_int_equal(gm_fd_store_open(&store), 0);
	assert_int_equal(gm_fd_store_push(&store, "+r1", STDERR_FILENO), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)usleep(300 * 1000);
		(void)recv(keeper, text, sizeof(text), 0);
		_exit(0);
	}
	assert_int_equal(gm_fd_store_push(&store, "+r2", STDERR_FILENO), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	gm_fd_store_close(&store);
	gm_fd_close(keeper);
}

static void a_keeper_that_hangs_has_a_small_share_of_the_time(void **state)
{
	struct gm_fd_store store;
	int keeper = keeper_new();
	double start, spent = 0;
	char text[256];

	(void)state;
	assert_int_equal(gm_fd_store_open(&store), 0);
	start = now_ms();
	assert_true(fill(&store) > 0);
	assert_true(now_ms() - start >= GM_FD_STORE_PATIENCE_MS - 2);
	/* It has been waited for once. */
	start = now_ms();
	while (now_ms() - start < 400) {
		double began = now_ms();

		assert_int_equal(gm_fd_store_push(&store, "+r0", STDERR_FILENO), -EAGAIN);
		spent += now_ms() - began;
		(void)usleep(10 * 1000);
	}
	assert_true(spent < 400.0 * 3 / GM_FD_STORE_SHARE);
	/* Room for one makes room for one. */
	hear(keeper, text, sizeof(text));
	assert_int_equal(gm_fd_store_remove(&store, "+r0"), 0);
	gm_fd_store_close(&store);
	gm_fd_close(keeper);
}

static void patience_comes_back(void **state)
{
	const double share = 400.0 / GM_FD_STORE_SHARE - 3;
	struct gm_fd_store store;
	int keeper = keeper_new();
	double waited = 0;

	(void)state;
	assert_int_equal(gm_fd_store_open(&store), 0);
	assert_true(fill(&store) > 0);
	/* What a busy host added to the waiting until now is owed first. */
	for (int i = 0; i < 5 && waited < share; i++) {
		double start;

		(void)usleep(400 * 1000);
		start = now_ms();
		assert_int_equal(gm_fd_store_push(&store, "+r0", STDERR_FILENO), -EAGAIN);
		waited = now_ms() - start;
	}
	assert_true(waited >= share);
	gm_fd_store_close(&store);
	gm_fd_close(keeper);
}

static void a_keeper_that_comes_back_at_its_address_is_found(void **state)
{
	struct gm_fd_store store;
	int keeper = keeper_new();
	char text[256];

	(void)state;
	assert_int_equal(gm_fd_store_open(&store), 0);
	gm_fd_close(keeper);
	assert_int_equal(gm_fd_store_remove(&store, "+r0"), -ECONNREFUSED);
	keeper = keeper_new();
	assert_int_equal(gm_fd_store_remove(&store, "+r1"), 0);
	hear(keeper, text, sizeof(text));
	assert_string_equal(text, "FDSTOREREMOVE=1\nFDNAME=+r1");
	gm_fd_store_close(&store);
	gm_fd_close(keeper);
}

static void the_room_is_what_the_keeper_says_up_to_the_most_there_can_be(void **state)
{
	static const struct {
		const char *text;
		uint32_t max;
	} cases[] = { { "100", 100 },
		      { "0", GM_FD_STORE_MAX },
		      { "many", GM_FD_STORE_MAX },
		      { "999999999", GM_FD_STORE_MAX } };
	int keeper = keeper_new();

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		struct gm_fd_store store;

		setenv("FDSTORE", cases[i].text, 1);
		assert_int_equal(gm_fd_store_open(&store), 0);
		assert_int_equal(store.max, cases[i].max);
		gm_fd_store_close(&store);
	}
	unsetenv("FDSTORE");
	gm_fd_close(keeper);
}

static void every_name_that_is_made_is_understood(void **state)
{
	static const uint32_t records[] = { 0, 1, 31, 0xfff, GM_STORED_RECORDS_MAX - 1 };
	char name[GM_STORED_NAME_SIZE];
	enum gm_stored_kind kind;
	uint32_t record;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(records); i++) {
		for (unsigned k = GM_STORED_STATE; k < GM_STORED_OTHER; k++) {
			bool has_record = k != GM_STORED_STATE && k != GM_STORED_MAPS;

			gm_stored_name((enum gm_stored_kind)k, records[i], name);
			assert_true(gm_stored_parse(name, &kind, &record));
			assert_int_equal(kind, k);
			assert_int_equal(record, has_record ? records[i] : 0);
		}
	}
}

static void a_name_has_one_spelling_only(void **state)
{
	static const char *const other[] = {
		"+r",	"+r01",	   "+R1",    "+rA", "+r10000", "+r-1",
		"+r 1", "+states", "+maps1", "+",   "+x0",     "+r1f+"
	};
	enum gm_stored_kind kind;
	uint32_t record;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(other); i++) {
		assert_true(gm_stored_parse(other[i], &kind, &record));
		assert_int_equal(kind, GM_STORED_OTHER);
	}
	assert_false(gm_stored_parse("state", &kind, &record));
	assert_false(gm_stored_parse("", &kind, &record));
}

/* With the longest names of all listening sockets before them. */
static void all_names_fit_the_one_string_that_an_exec_takes(void **state)
{
	const size_t max_arg_strlen = 128 * 1024, n_sockets = 513, socket_name = 79;
	char longest[GM_STORED_NAME_SIZE];

	(void)state;
	gm_stored_name(GM_STORED_REGION, GM_STORED_RECORDS_MAX - 1, longest);
	assert_true(sizeof("LISTEN_FDNAMES=") + n_sockets * (socket_name + 1) +
			    GM_FD_STORE_MAX * (strlen(longest) + 1) <=
		    max_arg_strlen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_pushed_fd_arrives_under_its_name_and_stays_ours),
		gm_test(a_removal_names_what_goes),
		gm_test(a_keeper_may_be_at_a_path),
		gm_test(without_a_keeper_there_is_no_store),
		gm_test(a_keeper_that_is_away_for_a_moment_is_waited_for),
		gm_test(a_keeper_that_hangs_has_a_small_share_of_the_time),
		gm_test(patience_comes_back),
		gm_test(a_keeper_that_comes_back_at_its_address_is_found),
		gm_test(the_room_is_what_the_keeper_says_up_to_the_most_there_can_be),
		gm_test(every_name_that_is_made_is_understood),
		gm_test(a_name_has_one_spelling_only),
		gm_test(all_names_fit_the_one_string_that_an_exec_takes),
	};

	return gm_test_run("fd_store", tests, GM_ARRAY_SIZE(tests));
}
