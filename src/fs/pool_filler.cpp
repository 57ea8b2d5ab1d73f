// SPDX-License-Identifier: BSD-3-Clause
#include "fs/pool_filler.hpp"

namespace flowfs::fs {

void PoolFiller::fill(Request request, Pool& pool, unsigned class_index) {
  if (const auto found = under_way_.find({pool.serial, class_index}); found != under_way_.end()) {
    parking_.park(found->second->waits, {.request = request});
    return;
  }
  const bool known = class_index < pool.geometry.classes().size();
  if (known && !pool.store->classes.contains(class_index) &&
      Pools::class_bytes(pool, class_index) > kAtOnce) {
    begin(request, pool, class_index);
  } else if (const Status done = pools_.populate(pool, class_index); !done) {
    replies_.error(request, done.error().error);
  } else {
    fuse_reply_ioctl(request.raw, 0, nullptr, 0);
  }
}

void PoolFiller::begin(Request request, Pool& pool, unsigned class_index) {
  auto charge = pools_.charge_class(pool, class_index);
  if (!charge) {
    replies_.error(request, charge.error().error);
    return;
  }
  if (!worker_) {
    worker_ = std::make_unique<Workers>(loop_, "pools");
  }
  const Key key{pool.serial, class_index};
  Filling& filling = *under_way_
                          .emplace(key, std::make_unique<Filling>(PoolUse(pools_, pool),
                                                                  std::move(*charge), parking_))
                          .first->second;
  const bool begun = worker_->try_submit(
      [&filling, store = pool.store.get(), class_index, lock = pools_.locks()] {
        filling.filled = Pools::fill(*store, class_index, lock);
      },
      [this, key] { end(key); });
  if (!begun) {
    under_way_.erase(key);
    replies_.error(request, EAGAIN);
    return;
  }
  // Where it may not wait it is answered so, and asks again: the memory comes all the same.
  parking_.park(filling.waits, {.request = request});
}

void PoolFiller::end(Key key) {
  const auto filling = std::move(under_way_.extract(key).mapped());
  const Status done =
      pools_.filled(*filling->use, key.second, std::move(filling->charge), filling->filled);
  while (!filling->waits.empty()) {
    const Request request = filling->waits.take_front().request;
    if (done) {
      fuse_reply_ioctl(request.raw, 0, nullptr, 0);
    } else {
      replies_.error(request, done.error().error);
    }
  }
}

void PoolFiller::abort_all(int error) {
  for (const auto& [key, filling] : under_way_) {
    filling->waits.fail_all(error);
  }
}

}  // namespace flowfs::fs
