/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 against the vectors of its authors: key 00..0f, message 00..(n - 1). */
#include "gm_num.h"
#include "gm_siphash.h"
#include "gm_test.h"

static const struct gm_siphash_key key = { UINT64_C(0x0706050403020100),
					   UINT64_C(0x0f0e0d0c0b0a0908) };

static void the_digest_is_that_of_the_authors_vectors(void **state)
{
	static const struct {
		size_t size;
		uint64_t digest;
	} vectors[] = {
		{ 0, UINT64_C(0x726fdb47dd0e0e31) },
		{ 1, UINT64_C(0x74f839c593dc67fd) },
		{ 8, UINT64_C(0x93f5f5799a932462) },
		{ 15, UINT64_C(0xa129ca6149be45e5) },
	};
	unsigned char message[16];

	(void)state;
	for (unsigned i = 0; i < sizeof(message); i++)
		message[i] = (unsigned char)i;
	for (size_t i = 0; i < GM_ARRAY_SIZE(vectors); i++)
		assert_int_equal(gm_siphash(&key, message, vectors[i].size), vectors[i].digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_digest_is_that_of_the_authors_vectors),
	};

	return gm_test_run("siphash", tests, GM_ARRAY_SIZE(tests));
}
