#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The parser that the other tests trust: it takes what the specification allows, and nothing else."""
import unittest

import openmetrics

GOOD = """# TYPE a gauge
# HELP a Of a.
a{x="1",y="q\\"\\\\\\n"} 1
a{x="2"} +Inf
# TYPE b_seconds histogram
# UNIT b_seconds seconds
b_seconds_bucket{le="0.1"} 1
b_seconds_bucket{le="1.0"} 1
b_seconds_bucket{le="+Inf"} 3
b_seconds_count 3
b_seconds_sum 4.5
# TYPE c counter
c_total 7
# EOF
"""

BAD = {
    "no_end": ("# EOF\n", ""),
    "an_end_in_the_middle": ("# TYPE c", "# EOF\n# TYPE c"),
    "an_empty_line": ("# TYPE c", "\n# TYPE c"),
    "a_counter_without_total": ("c_total 7", "c 7"),
    "a_family_called_total": ("# TYPE c counter\nc_total", "# TYPE c_total counter\nc_total_total"),
    "a_negative_counter": ("c_total 7", "c_total -7"),
    "buckets_that_go_down": ('le="1.0"} 1', 'le="1.0"} 0'),
    "no_last_bucket": ('b_seconds_bucket{le="+Inf"} 3\n', ""),
    "a_count_that_is_not_the_last_bucket": ("b_seconds_count 3", "b_seconds_count 4"),
    "buckets_out_of_order": ('le="0.1"', 'le="2.0"'),
    "a_bound_without_a_point": ('le="1.0"', 'le="1"'),
    "a_unit_that_the_name_lacks": ("UNIT b_seconds seconds", "UNIT b_seconds bytes"),
    "a_label_twice": ('x="1",y', 'x="1",x'),
    "a_comma_at_the_end": ('{x="2"}', '{x="2",}'),
    "a_sample_twice": ('{x="2"}', '{x="1",y="q\\"\\\\\\n"}'),
    "a_family_twice": ("# TYPE c counter", "# TYPE a counter"),
    "help_after_samples": ('a{x="2"} +Inf', 'a{x="2"} +Inf\n# UNIT a x'),
    "two_blanks": ("c_total 7", "c_total  7"),
    "no_number": ("c_total 7", "c_total seven"),
    "an_unknown_type": ("c counter", "c count"),
    "a_quote_that_is_not_escaped": ('q\\"', 'q"'),
    "an_unknown_escape": ('\\n"', '\\t"'),
}


class Parser(unittest.TestCase):
    def test_what_is_allowed_is_read(self):
        families = openmetrics.parse(GOOD)
        self.assertEqual(families["a"].value(x="1", y='q"\\\n'), 1)
        self.assertEqual(families["b_seconds"].value("_sum"), 4.5)
        self.assertEqual(families["c"].value("_total"), 7)

    def test_everything_else_is_not(self):
        for name, (old, new) in BAD.items():
            with self.subTest(name):
                text = GOOD.replace(old, new, 1)
                self.assertNotEqual(text, GOOD)
                with self.assertRaises(openmetrics.ParseError):
                    openmetrics.parse(text)


if __name__ == "__main__":
    unittest.main()
