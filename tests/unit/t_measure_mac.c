/* SPDX-License-Identifier: Apache-2.0 */
/* The guest owner's MACs, against those that public tools give. */
#include <string.h>

#include "firmware_image.h"
#include "gm_platform_mac.h"
#include "gm_test.h"

static const uint8_t zeros[32];

/* AMDESE/sev-tool, src/tests.cpp, test_calc_measurement. */
static struct gm_launch_measure sevtool_measure(void)
{
	struct gm_launch_measure measure = { .api_minor = 18, .build = 15 };

	from_hex("66320db73158a35a255d051758e95ed4", measure.tik);
	from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		 measure.digest);
	from_hex("4fbe0bedbad6c86ae8f68971d103e554", measure.mnonce);
	return measure;
}

static void a_measurement_is_that_of_the_platforms_own_tool(void **state)
{
	struct gm_launch_measure measure = sevtool_measure();
	uint8_t mac[GM_SHA256_SIZE];

	(void)state;
	assert_int_equal(gm_launch_measure_mac(&measure, mac), 0);
	assert_hex(mac, "6faab2daae389bcd3405a05d6cafe33c0414f7bedd0bae19ba5f38b7fd1664ea");
}

static void old_firmware_leaves_its_version_out(void **state)
{
	struct gm_launch_measure measure = sevtool_measure();
	uint8_t message[52] = { 0 };
	uint8_t mac[GM_SHA256_SIZE], wanted[GM_SHA256_SIZE];

	(void)state;
	memcpy(message + 4, measure.digest, sizeof(measure.digest));
	memcpy(message + 36, measure.mnonce, sizeof(measure.mnonce));
	assert_int_equal(gm_hmac_sha256(measure.tik, 16, message, sizeof(message), wanted), 0);
	measure.api_minor = 16;
	assert_int_equal(gm_launch_measure_mac(&measure, mac), 0);
	assert_memory_equal(mac, wanted, sizeof(mac));
}

/* virtee/sev, src/session/key.rs and mod.rs. */
static void session_keys_and_macs_are_those_of_the_tools(void **state)
{
	uint8_t key[GM_SESSION_KEY_SIZE], mac[GM_SHA256_SIZE], wrapped[32];

	(void)state;
	assert_int_equal(gm_session_kdf(zeros, 16, "sev-master-secret", zeros, 16, key), 0);
	assert_hex(key, "ab4d269fcc62bedb4511d56c386ce706");
	from_hex("2137bc7f9bb8bd7c3e55a576a15d3454b3856b8ba27afadf46dcfee9f02c02c4", wrapped);
	assert_int_equal(gm_session_wrap_mac(zeros, 16, zeros, 16, wrapped, 32, mac), 0);
	assert_hex(mac, "3176c0752738bd9d5e86689534020f528c088f16238826b000b327dee6aeed7d");
	assert_int_equal(gm_session_policy_mac(zeros, 0, mac), 0);
	assert_hex(mac, "aa7855e13839dd767cd5da7c1ff5036540c9264b7a803029315e55375287b4af");
}

static void a_label_that_does_not_fit_is_refused(void **state)
{
	uint8_t key[GM_SESSION_KEY_SIZE], context[257] = { 0 };
	char label[258];

	(void)state;
	memset(label, 'a', 257);
	label[257] = '\0';
	assert_true(gm_session_kdf(zeros, 16, label, NULL, 0, key) < 0);
	assert_true(gm_session_kdf(zeros, 16, "", context, 257, key) < 0);
	assert_int_equal(gm_session_kdf(zeros, 16, label + 1, context, 0, key), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_measurement_is_that_of_the_platforms_own_tool),
		gm_test(old_firmware_leaves_its_version_out),
		gm_test(session_keys_and_macs_are_those_of_the_tools),
		gm_test(a_label_that_does_not_fit_is_refused),
	};

	return gm_test_run("measure_mac", tests, GM_ARRAY_SIZE(tests));
}
