#include "models/src/two_level_json.hpp"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "models/src/json.hpp"
#include "ophis/core/error.hpp"

namespace ophis {
namespace {

using SectionFn = std::function<void(const std::string&, JsonSection&)>;

/// Receives the parser's events. The parser checks the syntax; this keeps track of where it is.
class TwoLevelHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  TwoLevelHandler(std::string_view origin, const SectionFn& on_section)
      : m_origin(origin), m_on_section(on_section) {}

  bool null() override { return scalar({}); }
  bool boolean(bool) override { return scalar({}); }
  bool number_integer(number_integer_t) override { return scalar({}); }
  bool number_float(number_float_t, const string_t&) override { return scalar({}); }
  bool binary(binary_t&) override { return scalar({}); }
  bool string(string_t& value) override {
    return scalar({.kind = JsonLeaf::Kind::text, .text = std::move(value), .integers = {}});
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (m_skipped == 0 && m_place == Place::array && m_leaf.integers.size() < JsonLeaf::max_integers) {
      m_leaf.integers.push_back(value);
      return true;
    }
    return scalar({});
  }

  bool key(string_t& name) override {
    if (m_skipped > 0) return true;
    if (m_place == Place::root_object) {
      if (!m_names.insert(name).second) fail_twice(name);
      m_name = std::move(name);
    } else {
      m_key = std::move(name);
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (m_skipped == 0 && m_place == Place::outside) {
      m_place = Place::root_object;
    } else if (m_skipped == 0 && m_place == Place::root_object) {
      m_place = Place::section;
      m_section = {.is_object = true, .values = {}};
    } else {
      skip();
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (m_skipped == 0 && m_place == Place::section) {
      m_place = Place::array;
      m_leaf = {.kind = JsonLeaf::Kind::integers, .text = {}, .integers = {}};
    } else {
      skip();
    }
    return true;
  }

  bool end_object() override { return end(); }
  bool end_array() override { return end(); }

  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::json::exception&) override {
    fail(ErrorCode::corrupt_data, m_origin, " is not valid JSON: error at byte ", position, " near ",
         json_quoted(token, 40));
  }

 private:
  enum class Place { outside, root_object, section, array };

  /// A value inside the innermost place that is tracked.
  bool scalar(JsonLeaf leaf) {
    if (m_skipped > 0) return true;
    switch (m_place) {
      case Place::outside:
        fail(ErrorCode::corrupt_data, m_origin, " is not a JSON object");
      case Place::root_object:
        report(JsonSection{});
        break;
      case Place::section:
        commit(std::move(leaf));
        break;
      case Place::array:
        m_leaf.kind = JsonLeaf::Kind::other;
        break;
    }
    return true;
  }

  /// Begins a nested value whose content is of no interest.
  void skip() {
    scalar({});
    ++m_skipped;
  }

  bool end() {
    if (m_skipped > 0) {
      --m_skipped;
    } else if (m_place == Place::array) {
      m_place = Place::section;
      commit(std::move(m_leaf));
    } else if (m_place == Place::section) {
      m_place = Place::root_object;
      report(std::move(m_section));
    } else {
      m_place = Place::outside;
    }
    return true;
  }

  void commit(JsonLeaf&& leaf) {
    if (!m_section.values.try_emplace(m_key, std::move(leaf)).second) fail_twice(m_key);
  }

  void report(JsonSection section) { m_on_section(m_name, section); }

  [[noreturn]] void fail_twice(const std::string& name) const {
    fail(ErrorCode::corrupt_data, m_origin, " has the key ", json_quoted(name), " twice");
  }

  std::string_view m_origin;
  const SectionFn& m_on_section;
  Place m_place = Place::outside;
  std::size_t m_skipped = 0;  ///< how many nested values of no interest are open
  std::string m_name;
  std::string m_key;
  JsonSection m_section;
  JsonLeaf m_leaf;
  std::unordered_set<std::string> m_names;
};

}  // namespace

void read_two_level_json(std::string_view text, std::string_view origin, const SectionFn& on_section) {
  TwoLevelHandler handler(origin, on_section);
  nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
}

}  // namespace ophis
