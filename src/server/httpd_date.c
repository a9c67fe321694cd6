/* Dates of HTTP (RFC 9110, 5.6.7). */
#include "server/httpd.h"

#include <stdio.h>
#include <string.h>

/* From March on: leap days come last in each year then. */
static const char months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";

const char *kith__httpd_date(uint64_t unix_s, char text[KITH_HTTPD_DATE_SIZE])
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    uint64_t day = unix_s / 86400, second = unix_s % 86400;
    /* Days since 1 March of year 0, in eras of 400 years: leap days then come last in each year. */
    uint64_t shifted = day + 719468, of_era = shifted % 146097;
    uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month = (5 * of_year + 2) / 153, of_month = of_year - (153 * month + 2) / 5 + 1;
    uint64_t year = year_of_era + shifted / 146097 * 400 + (month >= 10 ? 1 : 0);

    snprintf(text, KITH_HTTPD_DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * (day % 7),
             (unsigned)of_month % 100, months + 3 * month, (unsigned)year % 10000, (unsigned)(second / 3600),
             (unsigned)(second / 60 % 60), (unsigned)(second % 60));
    return text;
}

/* Digits of a fixed number. */
static bool take_number(const char *text, unsigned digits, uint64_t *out)
{
    for (*out = 0; digits > 0; text++, digits--) {
        if (*text < '0' || *text > '9')
            return false;
        *out = *out * 10 + (uint64_t)(*text - '0');
    }
    return true;
}

int kith__httpd_date_parse(struct kith_slice slice, uint64_t *unix_s)
{
    char text[KITH_HTTPD_DATE_SIZE], made[KITH_HTTPD_DATE_SIZE];
    uint64_t day, year, hour, minute, second, month = 0, found;

    if (slice.size != KITH_HTTPD_DATE_SIZE - 1)
        return KITH_ERR_PARSE;
    memcpy(text, slice.ptr, slice.size);
    text[slice.size] = 0;
    while (month < 12 && memcmp(months + 3 * month, text + 8, 3) != 0)
        month++;
    if (month == 12 || !take_number(text + 5, 2, &day) || !take_number(text + 12, 4, &year) ||
        !take_number(text + 17, 2, &hour) || !take_number(text + 20, 2, &minute) ||
        !take_number(text + 23, 2, &second) || year < 1970 || day == 0)
        return KITH_ERR_PARSE;
    if (month >= 10)
        year--;
    found = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719468;
    found = ((found * 24 + hour) * 60 + minute) * 60 + second;
    /* Days that no month has, wrong days of the week, and everything between make another text. */
    if (memcmp(kith__httpd_date(found, made), text, sizeof text) != 0)
        return KITH_ERR_PARSE;
    *unix_s = found;
    return 0;
}
