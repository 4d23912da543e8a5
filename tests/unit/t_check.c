/* SPDX-License-Identifier: Apache-2.0 */
/* Names: what both ends accept. */
#include "gm_test.h"

#include <stdbool.h>
#include <string.h>

#include "gm_check.h"
#include "gm_version.h"

static void exactly_the_characters_of_the_set_are_allowed(void **state)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";

	(void)state;
	for (int i = 0; i < 256; i++) {
		unsigned char c = (unsigned char)i;
		bool allowed = c && strchr(set, c);

		assert_int_equal(gm_name_is_valid(&c, 1, GM_NAME_MAX), allowed);
		assert_int_equal(gm_client_name_is_valid(&c, 1), allowed || c == '/');
	}
}

static void a_bad_character_is_found_at_any_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < 8; i++) {
		char name[8];

		memset(name, 'a', sizeof(name));
		assert_true(gm_name_is_valid(name, sizeof(name), GM_NAME_MAX));
		name[i] = '\0';
		assert_false(gm_name_is_valid(name, sizeof(name), GM_NAME_MAX));
		assert_false(gm_client_name_is_valid(name, sizeof(name)));
	}
}

static void length_is_one_to_the_maximum(void **state)
{
	char name[GM_NAME_MAX + 1];

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_false(gm_name_is_valid(name, 0, GM_NAME_MAX));
	assert_false(gm_name_is_valid(NULL, 0, GM_NAME_MAX));
	assert_true(gm_name_is_valid(name, 1, GM_NAME_MAX));
	assert_true(gm_name_is_valid(name, GM_NAME_MAX, GM_NAME_MAX));
	assert_false(gm_name_is_valid(name, GM_NAME_MAX + 1, GM_NAME_MAX));
	assert_true(gm_client_name_is_valid(name, GM_CLIENT_NAME_MAX));
	assert_false(gm_client_name_is_valid(name, GM_CLIENT_NAME_MAX + 1));
}

static void a_copy_is_ended_and_an_invalid_name_is_not_copied(void **state)
{
	uint8_t data[] = { 'r', 'a', 'm', '0' };
	ProtobufCBinaryData name = { .len = sizeof(data), .data = data };
	char buffer[5] = "....";

	(void)state;
	assert_true(gm_name_copy(&name, buffer, 4));
	assert_string_equal(buffer, "ram0");
	assert_false(gm_name_copy(&name, buffer, 3));
	data[0] = ' ';
	assert_false(gm_name_copy(&name, buffer, 4));
	name = (ProtobufCBinaryData){ 0 };
	assert_false(gm_name_copy(&name, buffer, 4));
	assert_string_equal(buffer, "ram0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(exactly_the_characters_of_the_set_are_allowed),
		gm_test(a_bad_character_is_found_at_any_place),
		gm_test(length_is_one_to_the_maximum),
		gm_test(a_copy_is_ended_and_an_invalid_name_is_not_copied),
	};

	return gm_test_run("check", tests, sizeof(tests) / sizeof(tests[0]));
}
