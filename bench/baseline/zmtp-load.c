/* A load generator for the stock dialect that speaks ZMTP 3.0 itself, over plain sockets and epoll: a read brings many
 * messages and a write takes many away, so that a task costs it a fraction of a microsecond and the broker under test is
 * what is measured. Three roles:
 *
 *   client  keeps tasks outstanding (closed loop) or sends them at a fixed rate (open loop; a task's latency counts from
 *           the moment it was due, not from when it could be sent), over any number of connections
 *   worker  any number of Paranoid Pirate or REQ workers, one connection and one task at a time each; answers with the
 *           task's own body
 *   direct  listens, and answers every message with itself: what the wire costs without a broker
 *
 * Commands come on stdin, one a line; answers go to stdout as JSON, one a line. Every answer is checked: it must belong
 * to a task that is outstanding and carry its body back.
 *
 *   zmtp-load client HOST PORT CONNECTIONS req|dealer
 *   zmtp-load worker HOST PORT CONNECTIONS req|ppp
 *   zmtp-load direct HOST 0
 *   run outstanding=100 size=64 rate=0 warmup=300 measure=1000      (client; rate per second, times in ms)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { FLAG_MORE = 1, FLAG_LONG = 2, FLAG_COMMAND = 4 };
enum { GREETING_SIZE = 64, READ_SIZE = 1 << 18, SLOTS_MAX = 1 << 20, PARTS_MAX = 16 };
enum { DRAIN_MS = 10000, HEARTBEAT_MS = 1000 };

typedef struct {
  uint8_t *data;
  size_t from, to, room;
} Bytes;

typedef struct {
  int fd;
  int state; /* 0: waits for the greeting, 1: for READY, 2: open */
  int wants_write, dirty;
  Bytes in, out;
  /* client: tasks under way here, and those that wait for it (REQ takes one at a time) */
  uint32_t under_way;
  uint32_t waiting_head, waiting_tail;
} Connection;

typedef struct {
  const uint8_t *data;
  size_t size;
} Part;

static enum { CLIENT, WORKER, DIRECT } role;
static int is_req;
static Connection *connections;
static int connection_count, open_count, epoll_fd, timer_fd, listen_fd = -1;

static void die(const char *what) {
  fprintf(stderr, "zmtp-load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint8_t *room_for(Bytes *b, size_t octets) {
  if (b->from == b->to) b->from = b->to = 0;
  if (b->to + octets > b->room) {
    memmove(b->data, b->data + b->from, b->to - b->from);
    b->to -= b->from;
    b->from = 0;
    if (b->to + octets > b->room) {
      b->room = 2 * (b->to + octets);
      b->data = realloc(b->data, b->room);
      if (b->data == NULL) die("out of memory");
    }
  }
  return b->data + b->to;
}

static void put(Bytes *b, const void *data, size_t size) {
  memcpy(room_for(b, size), data, size);
  b->to += size;
}

static void put_frame(Bytes *b, const void *data, size_t size, int flags) {
  uint8_t head[9];
  size_t head_size = 2;
  head[0] = (uint8_t)flags;
  if (size > 255) {
    head[0] |= FLAG_LONG;
    for (int i = 0; i < 8; i++) head[1 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
    head_size = 9;
  } else {
    head[1] = (uint8_t)size;
  }
  put(b, head, head_size);
  if (size > 0) put(b, data, size);
}

static void arm(Connection *c, int writable) {
  struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e) != 0) die("epoll_ctl");
  c->wants_write = writable;
}

static void flush(Connection *c) {
  c->dirty = 0;
  while (c->out.from < c->out.to) {
    ssize_t n = send(c->fd, c->out.data + c->out.from, c->out.to - c->out.from, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) die("the broker closed a connection while it was written to");
      if (!c->wants_write) arm(c, 1);
      return;
    }
    c->out.from += (size_t)n;
  }
  if (c->wants_write) arm(c, 0);
}

/* ---------------------------------------------------------------- the handshake */

static void greet(Connection *c) {
  uint8_t greeting[GREETING_SIZE] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
  put(&c->out, greeting, sizeof greeting);
  const char *type = role == DIRECT ? "ROUTER" : is_req ? "REQ" : "DEALER";
  uint8_t ready[64];
  size_t n = 0;
  memcpy(ready, "\5READY\13Socket-Type", 18);
  n = 18;
  memset(ready + n, 0, 3);
  ready[n + 3] = (uint8_t)strlen(type);
  memcpy(ready + n + 4, type, strlen(type));
  n += 4 + strlen(type);
  put_frame(&c->out, ready, n, FLAG_COMMAND);
}

static void sign_in(Connection *c) {
  if (role != WORKER) return;
  if (is_req) {
    put_frame(&c->out, NULL, 0, FLAG_MORE);
    put_frame(&c->out, "READY", 5, 0);
  } else {
    put_frame(&c->out, "\1", 1, 0);
  }
}

static void prepare(Connection *c, int fd) {
  memset(c, 0, sizeof *c);
  c->fd = fd;
  c->waiting_head = c->waiting_tail = UINT32_MAX;
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) die("epoll_ctl");
  greet(c);
  flush(c);
}

/* ---------------------------------------------------------------- the client */

typedef struct {
  uint64_t due_ns;  /* when it was, or should have been, sent */
  uint32_t sequence;
  uint32_t connection;
  uint32_t next;    /* in a connection's waiting line, or in the list of free slots */
  uint8_t busy, counted;
} Slot;

static Slot *slots;
static uint32_t free_slots = UINT32_MAX, slots_made;
static uint32_t body_size = 64, outstanding, limit;
static uint8_t *filler;
static int running, issuing, opened, closed;
static uint64_t rate, start_ns, open_ns, close_ns, measure_ns, give_up_ns, issued_count;
static uint64_t completed, wrong, lost;
static uint32_t next_connection;

/* Latencies in tenths of a microsecond: exact below 2,048, three digits above. */
enum { BUCKETS = 32 * 1024 };
static uint64_t buckets[BUCKETS];

static void record(uint64_t ns) {
  uint64_t v = ns / 100;
  if (v > 0x7fffffff) v = 0x7fffffff;
  int shift = v < 2048 ? 0 : 63 - __builtin_clzll(v) - 10;
  buckets[(uint64_t)shift * 1024 + (v >> shift)]++;
}

static void transmit(uint32_t s) {
  Connection *c = &connections[slots[s].connection];
  uint8_t mark[12];
  memcpy(mark, &s, 4);
  memcpy(mark + 4, &slots[s].sequence, 4);
  put_frame(&c->out, NULL, 0, FLAG_MORE);
  put_frame(&c->out, filler, body_size, 0);
  uint8_t *body = c->out.data + c->out.to - body_size;
  memcpy(body, mark, 8);
  memcpy(body + body_size - 4, mark + 4, 4);
  c->under_way++;
  c->dirty = 1;
}

static void issue(uint64_t due_ns, uint32_t connection) {
  uint32_t s = free_slots;
  if (s != UINT32_MAX) free_slots = slots[s].next;
  else if (slots_made < SLOTS_MAX) s = slots_made++;
  else {
    lost++;
    return;
  }
  Slot *slot = &slots[s];
  slot->busy = 1;
  slot->due_ns = due_ns;
  slot->sequence++;
  slot->connection = connection;
  slot->next = UINT32_MAX;
  slot->counted = rate > 0 ? due_ns >= open_ns && due_ns < close_ns : 0;
  outstanding++;
  issued_count++;
  Connection *c = &connections[slot->connection];
  if (is_req && c->under_way > 0) {
    if (c->waiting_tail == UINT32_MAX) c->waiting_head = s;
    else slots[c->waiting_tail].next = s;
    c->waiting_tail = s;
    return;
  }
  transmit(s);
}

static uint32_t any_connection(void) {
  if (++next_connection >= (uint32_t)connection_count) next_connection = 0;
  return next_connection;
}

static void answered(Connection *c, const Part *parts, int count, uint64_t now) {
  const Part *body = &parts[count - 1];
  uint32_t s, sequence, tail;
  if (count != 2 || parts[0].size != 0 || body->size != body_size) {
    wrong++;
    return;
  }
  memcpy(&s, body->data, 4);
  memcpy(&sequence, body->data + 4, 4);
  memcpy(&tail, body->data + body->size - 4, 4);
  if (s >= slots_made || !slots[s].busy || slots[s].sequence != sequence || tail != sequence ||
      &connections[slots[s].connection] != c) {
    wrong++;
    return;
  }
  Slot *slot = &slots[s];
  slot->busy = 0;
  slot->next = free_slots;
  free_slots = s;
  outstanding--;
  c->under_way--;
  if (opened && !closed) {
    completed++;
    if (rate == 0) record(now - slot->due_ns);
  }
  if (slot->counted) record(now - slot->due_ns);
  if (is_req && c->waiting_head != UINT32_MAX) {
    uint32_t w = c->waiting_head;
    c->waiting_head = slots[w].next;
    if (c->waiting_head == UINT32_MAX) c->waiting_tail = UINT32_MAX;
    transmit(w);
  }
  if (issuing && rate == 0 && outstanding < limit) issue(now, (uint32_t)(c - connections));
}

static void finish_run(void) {
  running = 0;
  lost += outstanding;
  printf("{\"type\":\"result\",\"seconds\":%.9f,\"tasks\":%llu,\"wrong\":%llu,\"lost\":%llu,\"latency\":[",
         (double)(close_ns - open_ns) / 1e9, (unsigned long long)completed, (unsigned long long)wrong,
         (unsigned long long)lost);
  int first = 1;
  for (int i = 0; i < BUCKETS; i++) {
    if (buckets[i] == 0) continue;
    uint64_t shift = i < 2048 ? 0 : (uint64_t)(i / 1024 - 1);
    uint64_t value = ((uint64_t)i - shift * 1024) << shift;
    printf("%s[%llu,%llu]", first ? "" : ",", (unsigned long long)value, (unsigned long long)buckets[i]);
    first = 0;
  }
  printf("]}\n");
  fflush(stdout);
}

static void set_timer(uint64_t at_ns) {
  struct itimerspec t = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u), .tv_nsec = (long)(at_ns % 1000000000u)}};
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* What the clock asks for: opening and closing the window, tasks that are due, the end. */
static void tick(void) {
  static uint64_t beat_ns;
  uint64_t now = now_ns();
  if (role == WORKER) {
    if (!is_req && now >= beat_ns) {
      beat_ns = now + HEARTBEAT_MS * 1000000ull;
      for (int i = 0; i < connection_count; i++) {
        if (connections[i].state != 2) continue;
        put_frame(&connections[i].out, "\2", 1, 0);
        flush(&connections[i]);
      }
      set_timer(beat_ns);
    }
    return;
  }
  if (!running) return;
  if (!opened && now >= open_ns) {
    opened = 1;
    /* With a rate, which tasks count is a matter of when they are due: the window is where it is from the start. */
    if (rate == 0) {
      open_ns = now;
      close_ns = now + measure_ns;
    }
    printf("{\"type\":\"open\"}\n");
    fflush(stdout);
  }
  if (opened && !closed && now >= close_ns) {
    closed = 1;
    issuing = 0;
    if (rate == 0) close_ns = now;
    give_up_ns = now + DRAIN_MS * 1000000ull;
    printf("{\"type\":\"close\"}\n");
    fflush(stdout);
  }
  uint64_t next = !opened ? open_ns : !closed ? close_ns : give_up_ns;
  if (issuing && rate > 0) {
    for (;;) {
      uint64_t due = start_ns + (uint64_t)((double)issued_count * 1e9 / (double)rate);
      if (due >= close_ns) break;
      if (due > now) {
        if (due < next) next = due;
        break;
      }
      issue(due, any_connection());
    }
  }
  if (closed && (outstanding == 0 || now >= give_up_ns)) finish_run();
  else set_timer(next);
}

static void run(uint32_t many, uint32_t size, uint64_t per_second, uint64_t warmup_ms, uint64_t measure_ms) {
  body_size = size < 16 ? 16 : size;
  filler = realloc(filler, body_size);
  for (uint32_t i = 0; i < body_size; i++) filler[i] = (uint8_t)('a' + i % 26);
  limit = many;
  rate = per_second;
  completed = wrong = lost = issued_count = 0;
  memset(buckets, 0, sizeof buckets);
  running = issuing = 1;
  opened = closed = 0;
  start_ns = now_ns();
  open_ns = start_ns + warmup_ms * 1000000ull;
  measure_ns = measure_ms * 1000000ull;
  close_ns = open_ns + measure_ns;
  if (rate == 0) {
    for (uint32_t i = 0; i < limit; i++) issue(now_ns(), any_connection());
  }
  set_timer(rate > 0 ? start_ns + 1 : open_ns);
}

/* ---------------------------------------------------------------- messages */

static void message(Connection *c, const Part *parts, int count, const uint8_t *raw, size_t raw_size, uint64_t now) {
  if (role == CLIENT) {
    answered(c, parts, count, now);
  } else if (role == DIRECT || count >= 3) {
    put(&c->out, raw, raw_size);
    c->dirty = 1;
  }
}

/* Reads one ZMTP message, or command, from the front of what has arrived. Returns its size; 0: not all there yet. */
static size_t take(Connection *c, uint64_t now) {
  const uint8_t *data = c->in.data + c->in.from;
  size_t size = c->in.to - c->in.from, at = 0;
  Part parts[PARTS_MAX];
  int count = 0;
  if (c->state == 0) {
    if (size < GREETING_SIZE) return 0;
    c->state = 1;
    return GREETING_SIZE;
  }
  for (;;) {
    if (at + 2 > size) return 0;
    int flags = data[at];
    size_t length, head = 2;
    if (flags & FLAG_LONG) {
      if (at + 9 > size) return 0;
      length = 0;
      for (int i = 0; i < 8; i++) length = length << 8 | data[at + 1 + (size_t)i];
      head = 9;
    } else {
      length = data[at + 1];
    }
    if (at + head + length > size) return 0;
    if (flags & FLAG_COMMAND) {
      if (c->state == 1) {
        c->state = 2;
        open_count++;
        sign_in(c);
        c->dirty = 1;
        if (role != DIRECT && open_count == connection_count) {
          printf("{\"type\":\"ready\"}\n");
          fflush(stdout);
        }
      }
      return at + head + length;
    }
    if (count == PARTS_MAX) die("a message of too many frames");
    parts[count].data = data + at + head;
    parts[count].size = length;
    count++;
    at += head + length;
    if (!(flags & FLAG_MORE)) break;
  }
  message(c, parts, count, data, at, now);
  return at;
}

static void readable(Connection *c) {
  uint8_t *into = room_for(&c->in, READ_SIZE);
  ssize_t n = recv(c->fd, into, c->in.room - c->in.to, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    if (role == DIRECT) {
      close(c->fd);
      c->fd = -1;
      return;
    }
    errno = n == 0 ? ECONNRESET : errno;
    die("the broker closed a connection");
  }
  c->in.to += (size_t)n;
  uint64_t now = now_ns();
  size_t taken;
  while ((taken = take(c, now)) > 0) c->in.from += taken;
}

static void command(char *line) {
  unsigned many, size;
  unsigned long long per_second, warmup, measure;
  if (sscanf(line, "run outstanding=%u size=%u rate=%llu warmup=%llu measure=%llu", &many, &size, &per_second, &warmup,
             &measure) == 5) {
    run(many, size, per_second, warmup, measure);
  } else {
    fprintf(stderr, "zmtp-load: not understood: %s", line);
    exit(2);
  }
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: zmtp-load client|worker HOST PORT CONNECTIONS req|dealer|ppp, or direct HOST 0\n");
    return 2;
  }
  role = strcmp(argv[1], "client") == 0 ? CLIENT : strcmp(argv[1], "worker") == 0 ? WORKER : DIRECT;
  connection_count = argc > 4 ? atoi(argv[4]) : 1;
  is_req = argc > 5 && strcmp(argv[5], "req") == 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
  inet_pton(AF_INET, argv[2], &address.sin_addr);
  epoll_fd = epoll_create1(0);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  slots = calloc(SLOTS_MAX, sizeof *slots);
  connections = calloc(role == DIRECT ? 1024 : (size_t)connection_count, sizeof *connections);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = &timer_fd};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &e);
  e.data.ptr = stdin;
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &e);
  if (role == DIRECT) {
    connection_count = 0;
    socklen_t length = sizeof address;
    listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listen_fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(listen_fd, 128) != 0) die("listen");
    getsockname(listen_fd, (struct sockaddr *)&address, &length);
    e.data.ptr = &listen_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e);
    printf("{\"type\":\"ready\",\"port\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
  } else {
    for (int i = 0; i < connection_count; i++) {
      int fd = socket(AF_INET, SOCK_STREAM, 0);
      if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
      prepare(&connections[i], fd);
    }
    if (role == WORKER) set_timer(now_ns() + HEARTBEAT_MS * 1000000ull);
  }
  static char lines[4096];
  size_t have = 0;
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epoll_fd, events, 256, -1);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
      void *source = events[i].data.ptr;
      if (source == &timer_fd) {
        uint64_t times;
        if (read(timer_fd, &times, sizeof times) < 0 && errno != EAGAIN) die("timer");
        tick();
      } else if (source == stdin) {
        ssize_t got = read(0, lines + have, sizeof lines - have - 1);
        if (got <= 0) return 0; /* whoever started us is gone */
        have += (size_t)got;
        lines[have] = 0;
        char *end;
        while ((end = strchr(lines, '\n')) != NULL) {
          command(lines);
          have -= (size_t)(end + 1 - lines);
          memmove(lines, end + 1, have + 1);
        }
      } else if (source == &listen_fd) {
        int fd = accept(listen_fd, NULL, NULL);
        if (fd >= 0 && connection_count < 1024) prepare(&connections[connection_count++], fd);
      } else {
        Connection *c = source;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        if (c->fd >= 0 && events[i].events & EPOLLOUT) flush(c);
      }
    }
    if (running && closed && outstanding == 0) finish_run();
    /* A burst that is issued or answered in one turn leaves in one write a connection. */
    for (int i = 0; i < connection_count; i++) {
      if (connections[i].dirty && connections[i].fd >= 0) flush(&connections[i]);
    }
  }
}
