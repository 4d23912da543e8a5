/* SPDX-License-Identifier: Apache-2.0 */
#include "storm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct storm *storm;

void storm_fail(const char *format, ...)
{
	char text[STORM_FAULT_MAX];
	bool none = false;
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!atomic_compare_exchange_strong(&storm->failed, &none, true))
		return;
	memcpy(storm->fault, text, sizeof(text));
}

/* splitmix64 */
uint64_t storm_random(struct storm_rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t storm_pick(struct storm_rng *rng, uint64_t n)
{
	return storm_random(rng) % n;
}

bool storm_chance(struct storm_rng *rng, unsigned percent)
{
	return storm_pick(rng, 100) < percent;
}

uint64_t storm_now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void storm_nap_us(uint64_t us)
{
	const struct timespec nap = { .tv_sec = (time_t)(us / 1000000),
				      .tv_nsec = (long)(us % 1000000) * 1000 };

	(void)nanosleep(&nap, NULL);
}
