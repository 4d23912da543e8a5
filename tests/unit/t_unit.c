/* SPDX-License-Identifier: Apache-2.0 */
/* Names of units and specifiers, and what a unit may be made of. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_test.h"
#include "unit.h"
#include "unit_specifiers.h"

static struct gm_unit_name parsed(const char *text)
{
	struct gm_unit_name name;

	if (gm_unit_name_parse(text, &name) == GM_UNIT_INVALID)
		fail_msg("%s is no unit's name", text);
	return name;
}

static void a_name_has_a_prefix_an_instance_and_a_type(void **state)
{
	struct gm_unit_name name;

	(void)state;
	name = parsed("gmemd.service");
	assert_int_equal(name.form, GM_UNIT_PLAIN);
	assert_string_equal(name.prefix, "gmemd");
	assert_string_equal(name.type, "service");
	name = parsed("gmemd@.socket");
	assert_int_equal(name.form, GM_UNIT_TEMPLATE);
	name = parsed("gmemd@a.b@c\\x2dd.socket");
	assert_int_equal(name.form, GM_UNIT_INSTANCE);
	assert_string_equal(name.prefix, "gmemd");
	assert_string_equal(name.instance, "a.b@c\\x2dd");
}

static void what_systemd_takes_for_no_name_is_none(void **state)
{
	static const char *const texts[] = { "",	   "gmemd",	 "gmemd.conf", "@a.socket",
					     ".socket",	   "a b.socket", "a/b.socket", "a.socket.d",
					     "a+b.socket", "socket.d" };
	char longest[GM_UNIT_NAME_SIZE + 1];
	struct gm_unit_name name;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(texts); i++)
		assert_int_equal(gm_unit_name_parse(texts[i], &name), GM_UNIT_INVALID);
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + GM_UNIT_NAME_SIZE - 7, ".socket", 8);
	assert_int_equal(gm_unit_name_parse(longest, &name), GM_UNIT_INVALID);
	assert_int_equal(gm_unit_name_parse(longest + 1, &name), GM_UNIT_PLAIN);
}

static void shorten_to(const char *from, const char *to)
{
	struct gm_unit_name name = parsed(from);
	char shorter[GM_UNIT_NAME_SIZE] = "";

	assert_int_equal(gm_unit_name_shorten(&name, shorter), to != NULL);
	if (to)
		assert_string_equal(shorter, to);
}

static void a_name_is_shortened_dash_by_dash(void **state)
{
	(void)state;
	shorten_to("a-b-c.socket", "a-b-.socket");
	shorten_to("a-b-.socket", "a-.socket");
	shorten_to("a-.socket", NULL);
	shorten_to("-a.socket", NULL);
	shorten_to("a.socket", NULL);
	shorten_to("a-b@x-y.socket", "a-@x-y.socket");
	shorten_to("a-b@.socket", "a-.socket");
	shorten_to("a--.socket", "a-.socket");
}

/* @wanted: NULL where there must be a fault. */
static void expands_to(const char *unit, const char *value, const char *wanted)
{
	const struct gm_unit_name name = parsed(unit);
	const struct gm_unit_place place = { .name = &name, .fragment = "/etc/x/a@.socket" };
	char reason[GM_TEXT_MAX] = "", got[256];
	int r = gm_unit_expand(&place, value, got, sizeof(got), reason);

	if (!wanted) {
		assert_int_equal(r, GM_INVALID);
		assert_true(reason[0]);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(got, wanted);
}

static void specifiers_are_parts_of_the_name_and_the_place(void **state)
{
	static const char unit[] = "a-b\\x2dc@d-e\\x2df.socket";

	(void)state;
	expands_to(unit, "%i,%I", "d-e\\x2df,d/e-f");
	expands_to(unit, "%p,%P", "a-b\\x2dc,a/b-c");
	expands_to(unit, "%j,%J", "b\\x2dc,b-c");
	expands_to(unit, "%n,%N", "a-b\\x2dc@d-e\\x2df.socket,a-b\\x2dc@d-e\\x2df");
	expands_to(unit, "%f", "/d/e-f");
	expands_to("gmemd.service", "%i:%f", ":/gmemd");
	expands_to(unit, "%y %Y", "/etc/x/a@.socket /etc/x");
	expands_to(unit, "%t %S %E", "/run /var/lib /etc");
}

static void a_percent_sign_alone_is_one(void **state)
{
	(void)state;
	expands_to("a.socket", "50%", "50%");
	expands_to("a.socket", "2M:25% 1G:5%", "2M:25% 1G:5%");
	expands_to("a.socket", "%%i %%%%", "%i %%");
}

static void specifiers_of_host_boot_and_user_are_refused(void **state)
{
	static const char letters[] = "abBCdgGhHlLmMoqsTuUvVwWzZ";

	(void)state;
	for (const char *letter = letters; *letter; letter++)
		expands_to("a.socket", (char[]){ 'x', '%', *letter, '\0' }, NULL);
	expands_to("a\\x.socket", "%P", NULL);
	expands_to("a\\x00.socket", "%P", NULL);
}

static void what_does_not_fit_is_a_fault(void **state)
{
	char value[600];

	(void)state;
	memset(value, 'v', sizeof(value));
	value[255] = '\0';
	expands_to("a.socket", value, value);
	value[255] = 'v';
	value[256] = '\0';
	expands_to("a.socket", value, NULL);
}

/* ---- files ---- */

struct place {
	char root[64];
	char folder[128];
	char path[192];
};

static void place_new(struct place *place)
{
	char command[256];

	snprintf(place->root, sizeof(place->root), "/tmp/gm-unit-XXXXXX");
	assert_non_null(mkdtemp(place->root));
	snprintf(place->folder, sizeof(place->folder), "%s/etc/systemd/system", place->root);
	snprintf(command, sizeof(command), "mkdir -p %s", place->folder);
	assert_int_equal(system(command), 0);
	snprintf(place->path, sizeof(place->path), "%s/gmemd@.socket", place->folder);
}

static void place_free(const struct place *place)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -r %s", place->root);
	assert_int_equal(system(command), 0);
}

static int load(const struct place *place, struct gm_unit *ret_unit, char *said)
{
	struct gm_unit_tree tree;
	int r;

	assert_int_equal(gm_unit_tree_open(place->root, &tree), 0);
	r = gm_unit_load(&tree, "gmemd@acme.socket", ret_unit, said);
	gm_unit_tree_done(&tree);
	return r;
}

static void a_unit_without_a_file_is_missing(void **state)
{
	char said[GM_UNIT_SAID_MAX];
	struct place place;
	struct gm_unit unit;

	(void)state;
	place_new(&place);
	assert_int_equal(load(&place, &unit, said), 0);
	assert_int_equal(unit.state, GM_UNIT_MISSING);
	gm_unit_done(&unit);
	place_free(&place);
}

static void a_drop_in_that_is_no_file_is_named_and_blocks_nobody(void **state)
{
	char said[GM_UNIT_SAID_MAX], path[256];
	struct place place;
	struct gm_unit unit;
	FILE *file;

	(void)state;
	place_new(&place);
	file = fopen(place.path, "we");
	assert_non_null(file);
	fputs("[Socket]\n", file);
	fclose(file);
	snprintf(path, sizeof(path), "%s/gmemd@acme.socket.d", place.folder);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/gmemd@acme.socket.d/1.conf", place.folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(load(&place, &unit, said), -EINVAL);
	assert_non_null(strstr(said, "/etc/systemd/system/gmemd@acme.socket.d/1.conf: "));
	place_free(&place);
}

static void a_file_that_is_too_large_is_a_fault(void **state)
{
	char said[GM_UNIT_SAID_MAX];
	struct place place;
	struct gm_unit unit;
	FILE *file;

	(void)state;
	place_new(&place);
	file = fopen(place.path, "we");
	assert_non_null(file);
	for (unsigned i = 0; i <= GM_UNIT_TEXT_MAX; i++)
		fputc('\n', file);
	fclose(file);
	assert_int_equal(load(&place, &unit, said), -EINVAL);
	assert_non_null(strstr(said, "gmemd@.socket: larger than"));
	place_free(&place);
}

static void links_that_go_in_circles_are_no_units(void **state)
{
	char said[GM_UNIT_SAID_MAX], path[256];
	struct place place;
	struct gm_unit unit;

	(void)state;
	place_new(&place);
	assert_int_equal(symlink("other@.socket", place.path), 0);
	snprintf(path, sizeof(path), "%s/other@.socket", place.folder);
	assert_int_equal(symlink("gmemd@.socket", path), 0);
	assert_int_equal(load(&place, &unit, said), 0);
	assert_int_equal(unit.state, GM_UNIT_MISSING);
	gm_unit_done(&unit);
	place_free(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_name_has_a_prefix_an_instance_and_a_type),
		gm_test(what_systemd_takes_for_no_name_is_none),
		gm_test(a_name_is_shortened_dash_by_dash),
		gm_test(specifiers_are_parts_of_the_name_and_the_place),
		gm_test(a_percent_sign_alone_is_one),
		gm_test(specifiers_of_host_boot_and_user_are_refused),
		gm_test(what_does_not_fit_is_a_fault),
		gm_test(a_unit_without_a_file_is_missing),
		gm_test(a_drop_in_that_is_no_file_is_named_and_blocks_nobody),
		gm_test(a_file_that_is_too_large_is_a_fault),
		gm_test(links_that_go_in_circles_are_no_units),
	};

	return gm_test_run("unit", tests, GM_ARRAY_SIZE(tests));
}
