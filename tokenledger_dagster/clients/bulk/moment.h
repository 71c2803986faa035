/* Times as logs write them, in microseconds since 1970.
 *
 * Here: the one spelling `2026-11-13T07:24:30.921Z`, with up to six decimals.  Not here: any other; whoever meets one
 * leaves the line to others.
 */
#ifndef TOKENLEDGER_MOMENT_H
#define TOKENLEDGER_MOMENT_H

#include "json.h"

typedef struct {
    int64_t us; /* since 1970 */
    int year, month, day, hour, minute, second, micro;
} Moment;

static inline bool read_digits(const byte *at, int count, int *found) {
    int value = 0;
    for (int place = 0; place < count; place++) {
        if (!is_digit(at[place])) return false;
        value = value * 10 + (at[place] - '0');
    }
    *found = value;
    return true;
}

static inline int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Days since 1970 of a date of our calendar, counting years from March so that leap days come last. */
static inline int64_t days_since_1970(int year, int month, int day) {
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = shifted / 400, in_era = shifted - era * 400;
    int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

/* Microseconds since 1970 of a date and time. */
static inline int64_t us_of(const Moment *moment) {
    int64_t seconds = days_since_1970(moment->year, moment->month, moment->day) * 86400 + moment->hour * 3600 +
                      moment->minute * 60 + moment->second;
    return seconds * 1000000 + moment->micro;
}

/* The date and time of some microseconds since 1970. */
static inline void moment_of(int64_t us, Moment *moment) {
    int64_t seconds = us / 1000000 - (us % 1000000 < 0), days = seconds / 86400 - (seconds % 86400 < 0);
    int left = (int)(seconds - days * 86400);
    moment->us = us;
    moment->micro = (int)(us - seconds * 1000000);
    moment->hour = left / 3600;
    moment->minute = left / 60 % 60;
    moment->second = left % 60;
    int64_t shifted = days + 719468, era = shifted / 146097 - (shifted % 146097 < 0), in_era = shifted - era * 146097;
    int64_t in_year_of = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * in_year_of + in_year_of / 4 - in_year_of / 100);
    int64_t month = (5 * in_year + 2) / 153;
    moment->day = (int)(in_year - (153 * month + 2) / 5 + 1);
    moment->month = (int)(month < 10 ? month + 3 : month - 9);
    moment->year = (int)(in_year_of + era * 400 + (moment->month <= 2));
}

static inline bool read_moment(const Text *text, Moment *moment) {
    const byte *at = text->at;
    if (!at || text->size < 20 || text->size > 27 || at[text->size - 1] != 'Z') return false;
    if (!read_digits(at, 4, &moment->year) || at[4] != '-' || !read_digits(at + 5, 2, &moment->month) || at[7] != '-' ||
        !read_digits(at + 8, 2, &moment->day) || at[10] != 'T' || !read_digits(at + 11, 2, &moment->hour) ||
        at[13] != ':' || !read_digits(at + 14, 2, &moment->minute) || at[16] != ':' ||
        !read_digits(at + 17, 2, &moment->second))
        return false;
    moment->micro = 0;
    int decimals = (int)text->size - 21;
    if (text->size > 20) {
        if (at[19] != '.' || decimals < 1 || !read_digits(at + 20, decimals, &moment->micro)) return false;
        for (; decimals < 6; decimals++) moment->micro *= 10;
    }
    if (moment->year < 1 || moment->month < 1 || moment->month > 12 || moment->day < 1 ||
        moment->day > days_in(moment->year, moment->month) || moment->hour > 23 || moment->minute > 59 ||
        moment->second > 59)
        return false;
    moment->us = us_of(moment);
    return true;
}

#endif
