/* A matrix product in fp32 proposes, fp64 decides. Of all pairs |x - y|^2 = |x|^2 + |y|^2 - 2 x . y is made in blocks from centred
 * features, lowered by a bound of its error; only a pair whose lowered square could still matter is computed again from the
 * features themselves. Nothing is lost: a pair that the bound rules out lies beyond what its query still wants.
 *
 * The bound, with u = 2^-24 and x, y rounded to fp32 after centring: the rounding of x and y moves the square by at most
 * 4 u (|x|^2 + |y|^2), the product by d u / (1 - d u) (|x|^2 + |y|^2) for any order of its sum, and what is then computed in fp32
 * by a few u of its terms. `slack` = (d + 16) u / (1 - (d + 16) u) of each square covers all of it. A common power of two brings
 * the longest row to a length below 1, so nothing overflows, and `tiny` covers what underflows. */
#include "eval/neighbours.h"

#include <math.h>
#include <omp.h>
#include <stdbool.h>

#include "base/memory.h"
#include "op/matmul.h"

/* A block of products is 1 MiB and stays in the cache; fewer rows of a block where they are long, such as pictures. */
enum { QUERIES = 128, REFERENCES = 2048, CHUNK = 64, VALUES = 1 << 23 };
_Static_assert((int)VALUES >= (int)TIM_FEATURES_MAX_WIDTH, "a block holds a row");

static const double tiny = 0x1p-100;

/* What is asked: visit() sees every pair (i, j) with |q_i - r_j|^2 <= limit[i] + reach[j], for one i in the order of j, and says
 * what limit[i] is from then on; -INFINITY: no more pairs of i. It may see pairs beyond. Different i run at the same time. */
typedef struct Search {
    TimFeatures queries, references;
    bool same;           /* queries and references are one set: no row is its own neighbour */
    double *limit;       /* (queries.count) */
    const double *reach; /* (references.count); NULL: zeros */
    double (*visit)(struct Search *search, size_t i, size_t j, double square);
    void *state;
} Search;

/* The queries that a thread has at hand, and their products with a block of references. */
typedef struct Desk {
    float *q, *panel; /* -2 q (queries, width); (queries, references): -2 q . r */
    double *q_square; /* (queries) */
    TimMatmul *product;
    void *work;
} Desk;

/* How blocks are made, and the blocks. */
typedef struct Work {
    size_t width, queries, references; /* rows of a block */
    double *centre;                    /* (width): mean of the references */
    double scale, slack;               /* scale: of a length; a power of two */
    float *r;                          /* (references, width) */
    float *r_line;                     /* (references): a pair matters where panel + r_line <= the query's line */
    int threads;
    Desk *desks; /* (threads) */
} Work;

static const char *const blocks = "blocks of features";

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t rows_of(TimFeatures set, size_t most) {
    return smaller(smaller(most, set.count), VALUES / set.width);
}

static TimStatus make_desk(Desk *desk, const Work *w, TimError *err) {
    const TimMatmulShape product = tim_matmul_of_rows((int64_t)w->queries, (int64_t)w->references, (int64_t)w->width);
    TIM_TRY(tim_matmul_new(&desk->product, &product, err));
    TIM_TRY(tim_new(&desk->work, tim_matmul_work(desk->product), 1, blocks, err));
    TIM_TRY(tim_new(&desk->q, w->queries * w->width, sizeof *desk->q, blocks, err));
    TIM_TRY(tim_new(&desk->panel, w->queries * w->references, sizeof *desk->panel, blocks, err));
    return tim_new(&desk->q_square, w->queries, sizeof *desk->q_square, blocks, err);
}

static TimStatus make_work(Work *w, const Search *s, TimError *err) {
    const size_t width = s->queries.width;
    const double rounding = ((double)width + 16.0) * 0x1p-24;
    *w = (Work){.width = width,
                .queries = rows_of(s->queries, QUERIES),
                .references = rows_of(s->references, REFERENCES),
                .slack = rounding / (1.0 - rounding),
                .threads = omp_get_max_threads()};
    TIM_TRY(tim_new(&w->centre, width, sizeof *w->centre, blocks, err));
    TIM_TRY(tim_new(&w->r, w->references * width, sizeof *w->r, blocks, err));
    TIM_TRY(tim_new(&w->r_line, w->references, sizeof *w->r_line, blocks, err));
    TIM_TRY(tim_new(&w->desks, (size_t)w->threads, sizeof *w->desks, blocks, err));
    for (int i = 0; i < w->threads; i++) TIM_TRY(make_desk(&w->desks[i], w, err));
    return TIM_OK;
}

static void free_desk(Desk *desk) {
    tim_matmul_free(desk->product);
    tim_free(desk->work);
    tim_free(desk->q);
    tim_free(desk->panel);
    tim_free(desk->q_square);
}

static void free_work(Work *w) {
    for (int i = 0; w->desks && i < w->threads; i++) free_desk(&w->desks[i]);
    tim_free(w->centre);
    tim_free(w->r);
    tim_free(w->r_line);
    tim_free(w->desks);
}

/* ---- blocks ---- */

static void find_centre(double *centre, TimFeatures from) {
    for (size_t i = 0; i < from.count; i++)
        for (size_t c = 0; c < from.width; c++) centre[c] += (double)from.values[i * from.width + c];
    for (size_t c = 0; c < from.width; c++) centre[c] /= (double)from.count;
}

static double longest(const double *centre, TimFeatures of) {
    double most = 0;
#pragma omp parallel for schedule(static) reduction(max : most)
    for (size_t i = 0; i < of.count; i++) {
        double sum = 0;
        for (size_t c = 0; c < of.width; c++) {
            const double value = (double)of.values[i * of.width + c] - centre[c];
            sum += value * value;
        }
        most = fmax(most, sum);
    }
    return sqrt(most);
}

static void find_frame(Work *w, const Search *s) {
    find_centre(w->centre, s->references);
    const double length = fmax(longest(w->centre, s->references), s->same ? 0.0 : longest(w->centre, s->queries));
    int exponent;
    frexp(length, &exponent); /* length < 2^exponent */
    w->scale = ldexp(1.0, -exponent);
}

/* block = row centred and scaled; returns its squared length. */
static double place_row(float *block, const float *row, const Work *w) {
    double sum = 0;
    for (size_t c = 0; c < w->width; c++) {
        block[c] = (float)(((double)row[c] - w->centre[c]) * w->scale);
        sum += (double)block[c] * (double)block[c];
    }
    return sum;
}

/* A square of features in the blocks' scale. */
static double scaled(double square, const Work *w) {
    return square * w->scale * w->scale;
}

static float rounded_down(double value) {
    return nextafterf((float)value, -INFINITY);
}

/* `rows` references from `first`: lowered squared length minus reach. */
static void place_references(Work *w, const Search *s, size_t first, size_t rows) {
#pragma omp parallel for schedule(static)
    for (size_t j = 0; j < rows; j++) {
        const double square = place_row(w->r + j * w->width, s->references.values + (first + j) * w->width, w);
        const double reach = s->reach ? scaled(s->reach[first + j], w) : 0.0;
        w->r_line[j] = rounded_down(square * (1.0 - w->slack) - reach * (1.0 + w->slack) - tiny);
    }
}

static void place_queries(Desk *desk, const Work *w, const Search *s, size_t first, size_t rows) {
    for (size_t i = 0; i < rows; i++)
        desk->q_square[i] = place_row(desk->q + i * w->width, s->queries.values + (first + i) * w->width, w);
    for (size_t k = 0; k < rows * w->width; k++) desk->q[k] *= -2.0F;
}

/* The other side of the comparison for a query of squared length `square`. */
static float query_line(double limit, double square, const Work *w) {
    if (limit == -INFINITY) return -INFINITY;
    return -rounded_down(square * (1.0 - w->slack) - scaled(limit, w) * (1.0 + w->slack) - tiny);
}

static double squared_piece(const float *a, const float *b, size_t width) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t c = 0; c < width; c++) {
        const double difference = (double)a[c] - (double)b[c];
        sum += difference * difference;
    }
    return sum;
}

/* By pieces: one sum over a million columns would lose digits to rounding, how many depending on the instruction set. */
static double squared_distance(const float *a, const float *b, size_t width) {
    enum { PIECE = 1024 };
    double sum = 0;
    for (size_t c = 0; c < width; c += PIECE) sum += squared_piece(a + c, b + c, width - c < PIECE ? width - c : PIECE);
    return sum;
}

/* ---- search ---- */

static bool any_matters(const float *panel, const float *r_line, size_t count, float q_line) {
    int any = 0;
#pragma omp simd reduction(| : any)
    for (size_t j = 0; j < count; j++) any |= panel[j] + r_line[j] <= q_line;
    return any;
}

/* Blocks of a panel: `queries` rows from `query` on against `references` rows from `reference` on. */
typedef struct Place {
    size_t query, queries, reference, references;
} Place;

/* A query of the panel. */
typedef struct Row {
    size_t i; /* in the set */
    double square;
    float line;
} Row;

/* Decides what the product proposes among `count` references from `first` on, the products and lines of which are given. */
static void decide(Search *s, const Work *w, Row *row, size_t first, const float *panel, const float *r_line, size_t count) {
    const float *query = s->queries.values + row->i * w->width;
    for (size_t n = 0; n < count; n++) {
        const size_t j = first + n;
        if (!(panel[n] + r_line[n] <= row->line) || (s->same && row->i == j)) continue;
        const double square = squared_distance(query, s->references.values + j * w->width, w->width);
        s->limit[row->i] = s->visit(s, row->i, j, square);
        row->line = query_line(s->limit[row->i], row->square, w);
    }
}

static void scan_row(Search *s, const Work *w, const Desk *desk, Place at, size_t number) {
    const float *panel = desk->panel + number * w->references;
    Row row = {.i = at.query + number, .square = desk->q_square[number]};
    if (s->limit[row.i] == -INFINITY) return;
    row.line = query_line(s->limit[row.i], row.square, w);
    for (size_t n = 0; n < at.references; n += CHUNK) {
        const size_t count = at.references - n < CHUNK ? at.references - n : CHUNK;
        if (any_matters(panel + n, w->r_line + n, count, row.line))
            decide(s, w, &row, at.reference + n, panel + n, w->r_line + n, count);
    }
}

/* The product is that of whole blocks; what rows beyond the sets hold is not looked at. */
static void search_panel(Search *s, const Work *w, Desk *desk, Place at) {
    place_queries(desk, w, s, at.query, at.queries);
    tim_matmul_run(desk->product, desk->q, w->r, NULL, desk->panel, desk->work);
    for (size_t i = 0; i < at.queries; i++) scan_row(s, w, desk, at, i);
}

static void search_block(Search *s, const Work *w, size_t first, size_t references) {
#pragma omp parallel for schedule(dynamic) num_threads(w->threads)
    for (size_t i = 0; i < s->queries.count; i += w->queries) {
        const Place at = {i, smaller(w->queries, s->queries.count - i), first, references};
        search_panel(s, w, &w->desks[omp_get_thread_num()], at);
    }
}

static TimStatus search(Search *s, TimError *err) {
    Work w;
    TimStatus status = make_work(&w, s, err);
    if (status == TIM_OK) find_frame(&w, s);
    for (size_t j = 0; status == TIM_OK && j < s->references.count; j += w.references) {
        const size_t references = smaller(w.references, s->references.count - j);
        place_references(&w, s, j, references);
        search_block(s, &w, j, references);
    }
    free_work(&w);
    return status;
}

/* limit (count) = `value` */
static TimStatus new_limits(double **limit, size_t count, double value, TimError *err) {
    TIM_TRY(tim_new(limit, count, sizeof **limit, "limits of a search", err));
    for (size_t i = 0; i < count; i++) (*limit)[i] = value;
    return TIM_OK;
}

static TimStatus check_pair(TimFeatures a, const char *a_name, TimFeatures b, const char *b_name, size_t least, TimError *err) {
    TIM_TRY(tim_features_check(a, least, a_name, err));
    TIM_TRY(tim_features_check(b, least, b_name, err));
    return tim_features_check_widths(a.width, b.width, err);
}

/* ---- nearest ---- */

/* Keeps the first of the nearest: the limit is the least square so far, and at 0 nothing can be nearer. */
static double keep_nearest(Search *s, size_t i, size_t j, double square) {
    size_t *index = s->state;
    if (square >= s->limit[i]) return s->limit[i];
    index[i] = j;
    return square > 0.0 ? square : -INFINITY;
}

TimStatus tim_neighbours_nearest(size_t *index, double *distance, TimFeatures queries, TimFeatures references, TimError *err) {
    TIM_TRY(check_pair(queries, "queries", references, "references", 1, err));
    Search s = {.queries = queries, .references = references, .visit = keep_nearest, .state = index};
    TIM_TRY(new_limits(&s.limit, queries.count, INFINITY, err));
    const TimStatus status = search(&s, err);
    for (size_t i = 0; status == TIM_OK && distance && i < queries.count; i++) distance[i] = sqrt(fmax(0.0, s.limit[i]));
    tim_free(s.limit);
    return status;
}

/* ---- radii ---- */

/* The k least squares so far of every row, ascending. */
typedef struct Least {
    size_t k;
    double *squares; /* (count, k) */
} Least;

static double keep_least(Search *s, size_t i, size_t j, double square) {
    (void)j;
    const Least *least = s->state;
    double *squares = least->squares + i * least->k;
    size_t place = least->k;
    for (; place > 0 && square < squares[place - 1]; place--)
        if (place < least->k) squares[place] = squares[place - 1];
    if (place < least->k) squares[place] = square;
    const double worst = squares[least->k - 1];
    return worst > 0.0 ? worst : -INFINITY;
}

static TimStatus find_least(Least *least, TimFeatures features, TimError *err) {
    size_t elements;
    if (!tim_mul_size(features.count, least->k, &elements))
        return tim_fail(err, TIM_E_MEMORY, "%zu neighbours of %zu rows do not fit; use a smaller k", least->k, features.count);
    TIM_TRY(new_limits(&least->squares, elements, INFINITY, err));
    Search s = {.queries = features, .references = features, .same = true, .visit = keep_least, .state = least};
    TIM_TRY(new_limits(&s.limit, features.count, INFINITY, err));
    const TimStatus status = search(&s, err);
    tim_free(s.limit);
    return status;
}

/* square[i] = squared distance to the k-th nearest other row. */
static TimStatus squared_radii(double *square, TimFeatures features, size_t k, TimError *err) {
    Least least = {.k = k};
    const TimStatus status = find_least(&least, features, err);
    for (size_t i = 0; status == TIM_OK && i < features.count; i++) square[i] = least.squares[i * k + k - 1];
    tim_free(least.squares);
    return status;
}

static TimStatus check_k(TimFeatures features, size_t k, const char *name, TimError *err) {
    if (k >= 1 && k < features.count) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s: neighbour %zu of a row among %zu rows; give k from 1 to the number of rows less 1",
                    name, k, features.count);
}

TimStatus tim_neighbours_radii(double *radius, TimFeatures features, size_t k, TimError *err) {
    TIM_TRY(tim_features_check(features, 2, "features", err));
    TIM_TRY(check_k(features, k, "features", err));
    TIM_TRY(squared_radii(radius, features, k, err));
    for (size_t i = 0; i < features.count; i++) radius[i] = sqrt(radius[i]);
    return TIM_OK;
}

/* ---- precision and recall ---- */

/* A query's limit stays 0 until it lies in a ball. */
static double note_inside(Search *s, size_t i, size_t j, double square) {
    (void)i;
    return square <= s->reach[j] ? -INFINITY : 0.0;
}

static TimStatus count_inside(double *share, Search *s, double *squares, size_t k, TimError *err) {
    TIM_TRY(squared_radii(squares, s->references, k, err));
    TIM_TRY(search(s, err));
    size_t inside = 0;
    for (size_t i = 0; i < s->queries.count; i++) inside += s->limit[i] == -INFINITY;
    *share = (double)inside / (double)s->queries.count;
    return TIM_OK;
}

/* *share = how many queries lie in a ball of the references. */
static TimStatus share_inside(double *share, TimFeatures queries, TimFeatures references, size_t k, TimError *err) {
    double *squares;
    Search s = {.queries = queries, .references = references, .visit = note_inside};
    TIM_TRY(tim_new(&squares, references.count, sizeof *squares, "radii", err));
    s.reach = squares;
    TimStatus status = new_limits(&s.limit, queries.count, 0.0, err);
    if (status == TIM_OK) status = count_inside(share, &s, squares, k, err);
    tim_free(s.limit);
    tim_free(squares);
    return status;
}

TimStatus tim_precision_recall(TimPrecisionRecall *out, TimFeatures generated, TimFeatures real, size_t k, TimError *err) {
    TIM_TRY(check_pair(generated, "generated features", real, "real features", 2, err));
    TIM_TRY(check_k(generated, k, "generated features", err));
    TIM_TRY(check_k(real, k, "real features", err));
    TIM_TRY(share_inside(&out->precision, generated, real, k, err));
    return share_inside(&out->recall, real, generated, k, err);
}
