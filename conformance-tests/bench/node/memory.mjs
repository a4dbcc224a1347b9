// A Map: what oidc-provider comes with forgets all but the newest thousand records.

const GRANTED = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);

export function memoryAdapter() {
  const records = new Map();
  const grants = new Map();
  const uids = new Map();

  return class {
    constructor(model) {
      this.model = model;
    }

    key(id) {
      return `${this.model}:${id}`;
    }

    async upsert(id, payload, lifetime) {
      const key = this.key(id);
      records.set(key, { payload, end: lifetime ? Date.now() + lifetime * 1000 : Infinity });
      if (GRANTED.has(this.model) && payload.grantId) {
        const members = grants.get(payload.grantId);
        if (members) members.push(key);
        else grants.set(payload.grantId, [key]);
      }
      if (payload.uid) uids.set(payload.uid, id);
    }

    async find(id) {
      const key = this.key(id);
      const record = records.get(key);
      if (record && record.end > Date.now()) return record.payload;
      records.delete(key);
      return undefined;
    }

    async findByUid(uid) {
      return this.find(uids.get(uid));
    }

    async consume(id) {
      records.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000);
    }

    async destroy(id) {
      records.delete(this.key(id));
    }

    async revokeByGrantId(grantId) {
      for (const key of grants.get(grantId) ?? []) records.delete(key);
      grants.delete(grantId);
    }
  };
}
