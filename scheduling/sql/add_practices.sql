-- Make a facility and a provider who works there for each name given. Takes no lock but those of an
-- insert. Its ids are made before the rows, so that the three tables can refer to them.
WITH practice AS MATERIALIZED (
    SELECT uuidv7() AS facility_id, uuidv7() AS provider_id, slug, name, city
    FROM unnest(%(slugs)s::text[], %(names)s::text[], %(cities)s::text[]) AS given (slug, name, city)
),
facility AS (
    INSERT INTO scheduling_facility (
        id, tenant_id, name, slug, kind, timezone, city, country, is_active
    )
    SELECT facility_id, %(tenant)s, name, slug, 'clinic', %(timezone)s, city, '', true
    FROM practice
),
provider AS (
    INSERT INTO scheduling_provider (id, tenant_id, name, is_active)
    SELECT provider_id, %(tenant)s, name, true
    FROM practice
)
INSERT INTO scheduling_providerfacility (tenant_id, facility_id, provider_id)
SELECT %(tenant)s, facility_id, provider_id
FROM practice
