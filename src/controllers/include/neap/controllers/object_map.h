// ObjectMap: objects of one kind by namespace and name, cheap to copy from.
//
// 1. Iterates like a std::map, in the order of keys, as pairs of references.
// 2. Objects are shared between maps and never change while they are: a second map follows the first at the
//    cost of what changed. operator[] gives this map a copy of its own first.
#pragma once

#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace neap::controllers {

struct ObjectKey {
  std::string namespace_, name;
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

template <class T>
ObjectKey key_of(const T& object) {
  return {object.metadata.namespace_, object.metadata.name};
}

template <class T>
class ObjectMap {
  using Shared = std::map<ObjectKey, std::shared_ptr<T>>;

 public:
  class const_iterator {
   public:
    using value_type = std::pair<const ObjectKey&, const T&>;
    using reference = value_type;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    struct pointer {
      value_type pair;
      const value_type* operator->() const { return &pair; }
    };
    const_iterator() = default;
    explicit const_iterator(typename Shared::const_iterator at) : at_(at) {}
    reference operator*() const { return {at_->first, *at_->second}; }
    pointer operator->() const { return {**this}; }
    std::shared_ptr<const T> share() const { return at_->second; }
    const_iterator& operator++() {
      ++at_;
      return *this;
    }
    const_iterator operator++(int) { return const_iterator(at_++); }
    friend bool operator==(const const_iterator&, const const_iterator&) = default;

   private:
    typename Shared::const_iterator at_;
  };

  const_iterator begin() const { return const_iterator(objects_.begin()); }
  const_iterator end() const { return const_iterator(objects_.end()); }
  const_iterator lower_bound(const ObjectKey& key) const { return const_iterator(objects_.lower_bound(key)); }
  std::size_t size() const { return objects_.size(); }
  bool empty() const { return objects_.empty(); }

  std::shared_ptr<const T> find(const ObjectKey& key) const {
    const auto it = objects_.find(key);
    return it == objects_.end() ? nullptr : it->second;
  }
  // Stays valid until the key is set or erased.
  const T* find_pointer(const ObjectKey& key) const {
    const auto it = objects_.find(key);
    return it == objects_.end() ? nullptr : it->second.get();
  }
  T& operator[](const ObjectKey& key) {
    auto& object = objects_[key];
    if (!object)
      object = std::make_shared<T>();
    else if (object.use_count() > 1)
      object = std::make_shared<T>(*object);
    return *object;
  }
  // Null erases.
  void set(const ObjectKey& key, std::shared_ptr<T> object) {
    if (object)
      objects_.insert_or_assign(key, std::move(object));
    else
      objects_.erase(key);
  }
  void clear() { objects_.clear(); }

 private:
  Shared objects_;
};

}  // namespace neap::controllers
