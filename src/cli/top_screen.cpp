// SPDX-License-Identifier: BSD-3-Clause
#include "cli/top_screen.hpp"

#include <curses.h>
#include <term.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <optional>

#include "cli/top_sample.hpp"

// term.h defines these as macros, for names that are ours as well.
#undef lines
#undef columns

namespace flowfs::cli {
namespace {

constexpr int kLookMs = 50;  // how often keys and samples are looked for
constexpr int kControlC = 3;
constexpr int kControlL = 12;
// From when on a sample that is not there is worth a word.
constexpr std::chrono::seconds kPatience{2};

// Takes the terminal over, and gives it back as it was.
class Terminal {
 public:
  Terminal() : screen_(newterm(nullptr, stdout, stdin)) {
    raw();  // Ctrl-C is a key: the terminal is always given back
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    timeout(kLookMs);
  }
  ~Terminal() {
    endwin();
    delscreen(screen_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

 private:
  SCREEN* screen_;
};

class Screen {
 public:
  Screen(const Common& common, const TopOptions& options)
      : sampler_(common, micros_of(options.delay_s)), common_(common), sort_(options.sort) {}

  // 0, or the errno that ended it.
  int run();
  // As Sampler.
  bool stop() { return sampler_.stop(); }

 private:
  void draw(const Sampler::State& state) const;
  [[nodiscard]] std::string status_line(const Sampler::State& state) const;
  bool take_key(int key);  // false: to end

  Sampler sampler_;
  const Common& common_;
  TopSort sort_;
};

std::string Screen::status_line(const Sampler::State& state) const {
  const auto silent = Clock::now() - state.asked;
  if (!state.answered && silent >= kPatience) {
    return fmt::format("{} has not answered for {} s", common_.mount,
                       std::chrono::duration_cast<std::chrono::seconds>(silent).count());
  }
  return "sort: i id  m messages  b bytes  n name    q quit";
}

void Screen::draw(const Sampler::State& state) const {
  erase();
  const int rows = getmaxy(stdscr);
  const int width = getmaxx(stdscr);
  const std::string text =
      state.before
          ? TopView(*state.before, *state.now).render(static_cast<std::size_t>(width), sort_)
          : std::string("looking...\n");
  std::size_t begin = 0;
  for (int row = 0; row + 1 < rows && begin < text.size(); ++row) {
    const std::size_t end = text.find('\n', begin);
    mvaddnstr(row, 0, text.c_str() + begin, std::min(static_cast<int>(end - begin), width));
    begin = end + 1;
  }
  attron(A_REVERSE);
  mvaddnstr(rows - 1, 0, fmt::format("{:<{}}", status_line(state), width).c_str(), width);
  attroff(A_REVERSE);
  refresh();
}

bool Screen::take_key(int key) {
  switch (key) {
    case 'q':
    case 'Q':
    case kControlC:
      return false;
    case kControlL:  // somebody else has written on the terminal
      clearok(stdscr, TRUE);
      break;
    case 'i':
      sort_ = TopSort::id;
      break;
    case 'm':
      sort_ = TopSort::messages;
      break;
    case 'b':
      sort_ = TopSort::bytes;
      break;
    case 'n':
      sort_ = TopSort::name;
      break;
    default:  // KEY_RESIZE among them: it is drawn anew in any case
      break;
  }
  return true;
}

int Screen::run() {
  const Terminal terminal;
  for (;;) {
    const Sampler::State state = sampler_.state();
    if (state.error != 0) {
      return state.error;
    }
    draw(state);
    if (!take_key(getch())) {
      return 0;
    }
  }
}

}  // namespace

bool can_use_screen() {
  int error = 0;
  if (isatty(STDOUT_FILENO) != 1 || isatty(STDIN_FILENO) != 1 ||
      setupterm(nullptr, STDOUT_FILENO, &error) != OK) {
    return false;
  }
  const bool moves_cursor = cursor_address != nullptr;
  del_curterm(cur_term);
  return moves_cursor;
}

int run_top_screen(const Common& common, const TopOptions& options) {
  (void)std::setlocale(LC_CTYPE, "");
  Screen screen(common, options);
  const int error = screen.run();
  const int result = error == 0 ? kDone : failed(Deed::read_tree, common.mount, error);
  if (!screen.stop()) {
    std::_Exit(result);
  }
  return result;
}

}  // namespace flowfs::cli
