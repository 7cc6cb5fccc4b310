-- The facilities of a tenant with these slugs, each with its zone and the provider who came first. Takes
-- no lock.
SELECT DISTINCT ON (facility.id)
    facility.slug, facility.id, facility.timezone, posting.provider_id
FROM scheduling_facility AS facility
LEFT JOIN scheduling_providerfacility AS posting ON posting.facility_id = facility.id
WHERE facility.tenant_id = %(tenant)s AND facility.slug = ANY(%(slugs)s)
ORDER BY facility.id, posting.provider_id
