// Records in Redis, laid out as the project's example adapter does: a hash for what is consumed, a string for the rest,
// a list of the keys of each grant; one MULTI a write.

import { Redis } from 'ioredis';

const CONSUMED = new Set(['AuthorizationCode', 'RefreshToken']);
const GRANTED = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);

export function redisAdapter(url) {
  const redis = new Redis(url, { keyPrefix: 'oidc:' });
  const grantKey = (id) => `grant:${id}`;
  const uidKey = (uid) => `uid:${uid}`;

  return class {
    constructor(model) {
      this.model = model;
      this.consumed = CONSUMED.has(model);
    }

    key(id) {
      return `${this.model}:${id}`;
    }

    async upsert(id, payload, lifetime) {
      const key = this.key(id);
      const text = JSON.stringify(payload);
      const all = redis.multi();
      if (this.consumed) all.hset(key, 'payload', text);
      else all.set(key, text);
      if (lifetime) all.expire(key, lifetime);
      if (GRANTED.has(this.model) && payload.grantId) {
        const grant = grantKey(payload.grantId);
        all.rpush(grant, key);
        if (lifetime > await redis.ttl(grant)) all.expire(grant, lifetime);
      }
      if (payload.uid) all.set(uidKey(payload.uid), id, 'EX', lifetime);
      await all.exec();
    }

    async find(id) {
      if (!this.consumed) {
        const text = await redis.get(this.key(id));
        return text ? JSON.parse(text) : undefined;
      }
      const { payload, ...rest } = await redis.hgetall(this.key(id));
      return payload ? { ...rest, ...JSON.parse(payload) } : undefined;
    }

    async findByUid(uid) {
      return this.find(await redis.get(uidKey(uid)));
    }

    async consume(id) {
      await redis.hset(this.key(id), 'consumed', Math.floor(Date.now() / 1000));
    }

    async destroy(id) {
      await redis.del(this.key(id));
    }

    async revokeByGrantId(grantId) {
      const members = await redis.lrange(grantKey(grantId), 0, -1);
      await redis.del(grantKey(grantId), ...members);
    }
  };
}
